/** Faults in the plugin's host side: calls of the driver, and the limits that launches are held against. */
const host = (name, tests = 'plugin:*,steps:*') => ({
  file: `host/${name}`,
  unit: { path: `host/${name.replace(/\.h$/, '.cpp')}` },
  executions: ['ptx'],
  tests,
})
const api = (name, tests) => ({ class: 'host API', ...host(name, tests) })
const limits = (name) => ({ class: 'limits', ...host(name, 'plugin: a launch beyond*,plugin: too little memory*') })

export const faults = [
  // ---- what is asynchronous
  {
    ...api('memory.cpp', 'plugin: transfers*'),
    name: 'staging: a half is filled again while it is read',
    from: '  if (in_flight_[current_]) OCTAVO_CU(cuEventSynchronize, read_[current_]);\n',
    to: '',
  },
  {
    ...api('memory.cpp', 'plugin: transfers*,plugin: linear*'),
    name: 'staging: bytes are taken before they have come',
    from: '    OCTAVO_CU(cuStreamSynchronize, stream_);\n    std::memcpy(out, place, now);',
    to: '    std::memcpy(out, place, now);',
  },
  {
    ...api('memory.cpp', 'plugin: transfers*,plugin: linear*'),
    name: 'staging: the copy reads pageable memory',
    from: 'OCTAVO_CU(cuMemcpyHtoDAsync_v2, to, place, now, stream_);',
    to: 'OCTAVO_CU(cuMemcpyHtoDAsync_v2, to, source, now, stream_);',
  },
  // ---- what is given back
  {
    ...api('memory.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'staging: pinned memory is kept',
    from: '  if (memory_) driver().cuMemFreeHost(memory_);\n',
    to: '',
  },
  {
    ...api('memory.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'staging: events are kept',
    from: '    if (event) driver().cuEventDestroy_v2(event);\n',
    to: '    (void)event;\n',
  },
  {
    ...api('memory.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'memory: pieces are kept',
    from: '  for (const Piece& piece : pieces_) driver().cuMemFree_v2(piece.base);\n',
    to: '',
  },
  {
    ...api('memory.cpp', 'plugin: what shares*'),
    name: 'memory: a piece is given back while parts of it are in use',
    from: 'if (--piece->parts == 0) {',
    to: 'if (--piece->parts >= 0) {',
  },
  {
    ...api('device.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'kernels: modules are kept',
    from: '  for (const CUmodule module : modules_) driver().cuModuleUnload(module);\n',
    to: '',
  },
  {
    ...api('device.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'the context is kept',
    from: 'Context::~Context() { driver().cuDevicePrimaryCtxRelease_v2(device_); }',
    to: 'Context::~Context() {}',
  },
  {
    ...api('steps.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'steps: graphs are kept',
    from: '  for (const CUgraphExec graph : graphs_) driver().cuGraphExecDestroy(graph);\n',
    to: '',
  },
  {
    ...api('steps.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'steps: what a graph was made of is kept',
    from: '  driver().cuGraphDestroy(graph);\n  check(result, "cuGraphInstantiate");',
    to: '  check(result, "cuGraphInstantiate");',
  },
  {
    ...api('steps.cpp', 'plugin: what is left open*,plugin: a piece of work*'),
    name: 'steps: pinned memory is kept',
    from: '  for (void* const memory : pinned_) driver().cuMemFreeHost(memory);\n',
    to: '',
  },
  // ---- what a capture allows
  {
    ...api('steps.cpp', 'plugin: of a graph*'),
    name: 'steps: a capture in which a launch fails is not ended',
    from: '    if (driver().cuStreamEndCapture(stream_, &graph) == CUDA_SUCCESS && graph) driver().cuGraphDestroy(graph);\n',
    to: '',
  },
  // ---- what is reported
  {
    ...api('device.cpp', 'plugin: each call fails*'),
    name: 'a launch that fails is not reported',
    from: '  if (result) throw Failure{result, std::string(launch.kernel) + ": " + describe(result)};\n',
    to: '  (void)result;\n',
  },
  {
    ...api('device.cpp', 'plugin: each call fails*'),
    name: 'kernels that do not load are not reported',
    from: 'if (result) throw Failure{result, std::string("kernels of ")',
    to: 'if (false) throw Failure{result, std::string("kernels of ")',
  },
  {
    ...api('memory.cpp', 'plugin: too little memory*'),
    name: 'memory: what is free is not said where it runs out',
    from: 'if (result == CUDA_ERROR_OUT_OF_MEMORY) {',
    to: 'if (false) {',
  },
  // ---- limits
  {
    ...limits('device.cpp'),
    name: 'more shared memory than by default is not asked for',
    tests: 'plugin: linear*',
    from: 'if (launch.shared <= kernel.dynamic_shared) continue;',
    to: 'continue;',
  },
  {
    ...limits('device.cpp'),
    name: 'launches are not held against the table',
    from: 'if (!broken.empty()) throw Failure{OCTAVO_CUDA_BAD_LAUNCH, broken};',
    to: '',
  },
  {
    ...limits('limits.h'),
    name: 'consumer devices have the shared memory of an A100',
    from: '{86, 99 * 1024,',
    to: '{86, 163 * 1024,',
  },
  {
    ...limits('limits.cpp'),
    name: 'static shared memory is not counted',
    from: 'static_cast<std::uint64_t>(launch.shared) + static_shared;',
    to: 'static_cast<std::uint64_t>(launch.shared);',
  },
  {
    ...limits('limits.cpp'),
    name: 'sizes of the grid are not held against the table',
    from: 'launch.grid[k] == 0 || launch.grid[k] > limits.grid[k]',
    to: 'launch.grid[k] == 0',
  },
  {
    ...limits('limits.cpp'),
    name: 'a block of too many threads, none of whose sides is too long',
    from: 'if (threads > limits.threads) return',
    to: 'if (false) return',
  },
]
