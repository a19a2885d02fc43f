// Streams, events, launches, graphs.
#include <cstring>
#include <optional>

#include "state.h"
#include "wrong.h"

using namespace octavo::fake;
namespace ptx = octavo::ptx;

namespace {
bool is_stream(CUstream stream) { return state().streams.count(stream) != 0; }
constexpr const char* no_stream = "this is no stream, or one that was destroyed";
constexpr const char* no_event = "this is no event, or one that was destroyed";
}  // namespace

OCTAVO_ENTRY cuStreamCreate(CUstream* stream, unsigned flags) {
  const Call call("cuStreamCreate");
  if (call.failed()) return call.error();
  if (flags != CU_STREAM_NON_BLOCKING) return call.broken("a stream that waits for the default stream");
  *stream = new CUstream_st{current()->device, {}, nullptr};
  state().streams.insert(*stream);
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuStreamDestroy_v2(CUstream stream) {
  const Call call("cuStreamDestroy", Call::gives_back);
  if (!is_stream(stream)) return call.broken(no_stream, CUDA_ERROR_INVALID_HANDLE);
  if (stream->capture) return call.broken("the stream captures");
  if (!state().sticky) state().drain(stream);
  state().streams.erase(stream);
  delete stream;
  return call.error();
}
OCTAVO_ENTRY cuStreamSynchronize(CUstream stream) {
  const Call call("cuStreamSynchronize");
  CUresult error;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.broken(no_stream, CUDA_ERROR_INVALID_HANDLE);
  if (call.illegal_in_capture(&error)) return error;
  return state().drain(stream);
}
// Work goes on between two questions: one piece of it a question.
OCTAVO_ENTRY cuStreamQuery(CUstream stream) {
  const Call call("cuStreamQuery");
  CUresult error;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.broken(no_stream, CUDA_ERROR_INVALID_HANDLE);
  if (call.illegal_in_capture(&error)) return error;
  if (stream->queue.empty()) return CUDA_SUCCESS;
  std::deque<Work> rest(std::make_move_iterator(stream->queue.begin() + 1),
                        std::make_move_iterator(stream->queue.end()));
  stream->queue.resize(1);
  error = state().drain(stream);
  stream->queue = std::move(rest);
  return error ? error : CUresult(CUDA_ERROR_NOT_READY);
}
OCTAVO_ENTRY cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  const Call call("cuStreamWaitEvent");
  if (call.failed()) return call.error();
  if (!state().events.count(event)) return call.broken(no_event, CUDA_ERROR_INVALID_HANDLE);
  const std::uint64_t record = event->recorded;
  const CUstream other = event->stream;
  if (record == 0) return CUDA_SUCCESS;
  return call.enqueue(
      stream, {[event, other, record, stream] {
        if (!state().events.count(event) || event->reached >= record || other == stream || !is_stream(other))
          return CUresult(CUDA_SUCCESS);
        return state().drain(other, event, record);
      }});
}

OCTAVO_ENTRY cuEventCreate(CUevent* event, unsigned) {
  const Call call("cuEventCreate");
  if (call.failed()) return call.error();
  *event = new CUevent_st;
  state().events.insert(*event);
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuEventDestroy_v2(CUevent event) {
  const Call call("cuEventDestroy", Call::gives_back);
  if (!state().events.count(event)) return call.broken(no_event, CUDA_ERROR_INVALID_HANDLE);
  state().events.erase(event);
  delete event;
  return call.error();
}
OCTAVO_ENTRY cuEventRecord(CUevent event, CUstream stream) {
  const Call call("cuEventRecord");
  if (call.failed()) return call.error();
  if (!state().events.count(event)) return call.broken(no_event, CUDA_ERROR_INVALID_HANDLE);
  const std::uint64_t record = ++event->recorded;
  event->stream = stream;
  return call.enqueue(stream, {nullptr, event, record});
}
OCTAVO_ENTRY cuEventSynchronize(CUevent event) {
  const Call call("cuEventSynchronize");
  CUresult error;
  if (call.failed()) return call.error();
  if (!state().events.count(event)) return call.broken(no_event, CUDA_ERROR_INVALID_HANDLE);
  if (call.illegal_in_capture(&error)) return error;
  if (event->reached >= event->recorded || !is_stream(event->stream)) return CUDA_SUCCESS;
  return state().drain(event->stream, event, event->recorded);
}
OCTAVO_ENTRY cuEventQuery(CUevent event) {
  {
    const Call call("cuEventQuery");
    CUresult error;
    if (call.failed()) return call.error();
    if (!state().events.count(event)) return call.broken(no_event, CUDA_ERROR_INVALID_HANDLE);
    if (call.illegal_in_capture(&error)) return error;
    if (event->reached >= event->recorded || !is_stream(event->stream)) return CUDA_SUCCESS;
  }
  const CUresult error = cuStreamQuery(event->stream);
  return error && error != CUDA_ERROR_NOT_READY ? error
         : event->reached >= event->recorded    ? CUDA_SUCCESS
                                                : CUDA_ERROR_NOT_READY;
}

OCTAVO_ENTRY cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                            unsigned bz, unsigned shared, CUstream stream, void** params, void** extra) {
  const Call call("cuLaunchKernel");
  if (call.failed()) return call.error();
  if (!state().modules.count(function->module))
    return call.broken("the function's module was unloaded", CUDA_ERROR_INVALID_HANDLE);
  const ptx::Function& f = *function->function;
  if (extra) return call.broken("`extra` is not used here");
  const auto limit = [&](const std::string& what) { return call.broken(f.name + ": " + what); };
  if (!gx || !gy || !gz || !bx || !by || !bz) return limit("a grid or a block of nothing");
  if (gx > 0x7fffffffu || gy > 65535 || gz > 65535)
    return limit("a grid of " + std::to_string(gx) + " x " + std::to_string(gy) + " x " + std::to_string(gz));
  if (bx > 1024 || by > 1024 || bz > 64 || static_cast<std::uint64_t>(bx) * by * bz > f.max_threads) {
    return limit("a block of " + std::to_string(bx) + " x " + std::to_string(by) + " x " + std::to_string(bz) +
                 " threads, at most " + std::to_string(f.max_threads));
  }
  if (static_cast<int>(shared) > function->most_dynamic_shared) {
    return limit(std::to_string(shared) + " bytes of dynamic shared memory, allowed are " +
                 std::to_string(function->most_dynamic_shared) + " (cuFuncSetAttribute)");
  }
  auto values = std::make_shared<std::vector<std::uint8_t>>(f.param_bytes);
  for (std::size_t k = 0; k < f.params.size(); ++k)
    std::memcpy(values->data() + f.params[k].offset, params[k], f.params[k].bytes);
  Device& d = call.device();
  ptx::LaunchShape shape;
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  std::copy_n(grid, 3, shape.grid), std::copy_n(block, 3, shape.block);
  shape.dynamic_shared = shared;
  const CUmodule module = function->module;
  return call.enqueue(
      stream, {[&d, &f, module, shape, values] {
        if (!state().modules.count(module))
          return state().broken(CUDA_ERROR_ILLEGAL_ADDRESS, "a kernel's module was unloaded before it ran");
        auto& report = state().report;
        try {
          auto now = shape;
          now.seed = state().seed ? state().seed + report.launches : 0;
          const std::string& wrong = state().wrong;
          std::optional<Wrong> bit;
          if (!wrong.empty() && f.name.starts_with(wrong)) bit.emplace(d.memory);
          const auto stats = ptx::launch(f, d.memory, now, values->data());
          if (bit) bit->turn();
          ++report.launches;
          report.instructions += stats.instructions;
          report.inexact_sums += stats.inexact_sums;
          return CUresult(CUDA_SUCCESS);
        } catch (const ptx::PtxError& e) {
          ++report.failed_kernels;
          std::snprintf(report.message, sizeof report.message, "%s", e.what());
          std::fprintf(stderr, "fake CUDA: a kernel failed: %s\n", e.what());
          return CUresult(e.fault == ptx::Fault::memory ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED);
        }
      }});
}

OCTAVO_ENTRY cuStreamBeginCapture_v2(CUstream stream, int mode) {
  const Call call("cuStreamBeginCapture");
  CUresult error;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.broken(no_stream, CUDA_ERROR_INVALID_HANDLE);
  if (call.illegal_in_capture(&error)) return error;
  stream->capture = std::make_unique<std::vector<Work>>();
  state().capturing = stream;
  state().capturing_thread = std::this_thread::get_id(), state().capture_mode = mode;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  const Call call("cuStreamEndCapture", Call::gives_back);
  if (!is_stream(stream) || !stream->capture)
    return call.broken("the stream does not capture", CUDA_ERROR_INVALID_HANDLE);
  auto work = std::move(stream->capture);
  state().capturing = nullptr;
  *graph = nullptr;
  if (call.failed()) return call.error();
  *graph = new CUgraph_st{std::move(*work)};
  state().graphs.insert(*graph);
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  const Call call("cuGraphInstantiate");
  CUresult error;
  if (call.failed()) return call.error();
  if (call.illegal_in_capture(&error)) return error;
  if (!state().graphs.count(graph))
    return call.broken("this is no graph, or one that was destroyed", CUDA_ERROR_INVALID_HANDLE);
  *exec = new CUgraphExec_st;
  (*exec)->work = graph->work;
  state().executables.insert(*exec);
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  const Call call("cuGraphLaunch");
  CUresult error;
  if (call.failed()) return call.error();
  if (call.illegal_in_capture(&error)) return error;
  if (!state().executables.count(exec))
    return call.broken("this is no graph, or one that was destroyed", CUDA_ERROR_INVALID_HANDLE);
  for (const Work& work : exec->work) {
    if ((error = call.enqueue(stream, work))) return error;
  }
  ++exec->launched;
  return call.enqueue(stream, {[done = exec->done] {
                        ++*done;
                        return CUresult(CUDA_SUCCESS);
                      }});
}
OCTAVO_ENTRY cuGraphExecDestroy(CUgraphExec exec) {
  const Call call("cuGraphExecDestroy", Call::gives_back);
  if (!state().executables.count(exec))
    return call.broken("this is no graph, or one that was destroyed", CUDA_ERROR_INVALID_HANDLE);
  if (exec->launched != *exec->done && !state().sticky) return call.broken("the graph is on its way");
  state().executables.erase(exec);
  delete exec;
  return call.error();
}
OCTAVO_ENTRY cuGraphDestroy(CUgraph graph) {
  const Call call("cuGraphDestroy", Call::gives_back);
  if (!state().graphs.erase(graph))
    return call.broken("this is no graph, or one that was destroyed", CUDA_ERROR_INVALID_HANDLE);
  delete graph;
  return call.error();
}
