// The driver of our own notices what breaks a rule of the API. These sequences are wrong on purpose; the plugin makes
// none of them.
#include <dlfcn.h>
#include <doctest.h>

#include <cstring>
#include <functional>
#include <string>

#include "fake.h"
#include "host/cuda_api.h"

using namespace octavo::testing;

namespace {

struct Api {
#define OCTAVO_DECLARE(name, parameters) CUresult(*name) parameters = nullptr;
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_DECLARE)
#undef OCTAVO_DECLARE
  Api() {
    fake();
    void* library = dlopen("libcuda.so.1", RTLD_NOW);
#define OCTAVO_LOOK_UP(name, parameters) name = reinterpret_cast<decltype(name)>(dlsym(library, #name));
    OCTAVO_DRIVER_FUNCTIONS(OCTAVO_LOOK_UP)
#undef OCTAVO_LOOK_UP
    cuInit(0);
  }
};
const Api& api() {
  static const Api a;
  return a;
}

// A context, a stream, memory of both sides, a module with one kernel: *p = *p + 1.
struct Scene {
  CUcontext context;
  CUstream stream;
  CUdeviceptr device;
  void* host;
  CUmodule module;
  CUfunction kernel;
  static constexpr std::size_t bytes = 256;
  Scene() {
    const char* ptx =
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry add(.param .u64 p)\n{\n.reg .b32 %r<3>; .reg "
        ".b64 %d<3>;\n"
        "ld.param.u64 %d1, [p];\nld.global.u32 %r1, [%d1];\nadd.s32 %r1, %r1, 1;\nst.global.u32 [%d1], %r1;\nret;\n}\n";
    api().cuDevicePrimaryCtxRetain(&context, 0);
    api().cuCtxSetCurrent(context);
    api().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    api().cuMemAlloc_v2(&device, bytes);
    api().cuMemHostAlloc(&host, bytes, 0);
    REQUIRE(api().cuModuleLoadData(&module, ptx) == CUDA_SUCCESS);
    REQUIRE(api().cuModuleGetFunction(&kernel, module, "add") == CUDA_SUCCESS);
  }
  ~Scene() {
    api().cuCtxSetCurrent(context);
    api().cuStreamSynchronize(stream);
    api().cuModuleUnload(module);
    api().cuMemFree_v2(device);
    api().cuMemFreeHost(host);
    api().cuStreamDestroy_v2(stream);
    api().cuDevicePrimaryCtxRelease_v2(0);
  }
  CUresult launch(unsigned blocks = 1, unsigned threads = 1, unsigned shared = 0) const {
    CUdeviceptr p = device;
    void* params[] = {&p};
    return api().cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, shared, stream, params, nullptr);
  }
};

// The message of the one rule that this breaks.
std::string broken(const std::function<void(Scene&)>& act) {
  const Played played("rules=record");
  Scene scene;
  const auto before = report().broken_rules;
  act(scene);
  const octavo_fake_report after = report();
  CHECK(after.broken_rules == before + 1);
  return after.message;
}

}  // namespace

TEST_CASE("fake driver: sequences that break a rule are named") {
  char pageable[256];
  CHECK(broken([&](Scene& s) { api().cuMemcpyHtoDAsync_v2(s.device, pageable, 16, s.stream); }) ==
        "cuMemcpyHtoDAsync: an asynchronous copy of pageable memory");
  CHECK(broken([&](Scene& s) { api().cuMemcpyDtoHAsync_v2(pageable, s.device, 16, s.stream); }) ==
        "cuMemcpyDtoHAsync: an asynchronous copy of pageable memory");
  CHECK(broken([](Scene& s) { api().cuMemcpyHtoDAsync_v2(s.device, s.host, 257, s.stream); }).find("pageable") !=
        std::string::npos);
  CHECK(broken([](Scene& s) {
          api().cuMemcpyHtoDAsync_v2(s.device + 200, s.host, 100, s.stream);
        }).find("outside of device memory") != std::string::npos);
  CHECK(broken([](Scene& s) { api().cuMemcpyDtoDAsync_v2(s.device, s.device + 8, 16, s.stream); }).find("overlap") !=
        std::string::npos);
  CHECK(broken([](Scene& s) { api().cuMemcpyHtoDAsync_v2(s.device, s.host, 16, nullptr); }).find("default stream") !=
        std::string::npos);
  CHECK(broken([](Scene&) {
          CUstream s;
          api().cuStreamCreate(&s, 0);
        }).find("default stream") != std::string::npos);
  CHECK(broken([](Scene& s) { api().cuMemFree_v2(s.device + 8); }).find("no allocation") != std::string::npos);
  CHECK(broken([](Scene& s) {
          api().cuLaunchKernel(s.kernel, 0, 1, 1, 1, 1, 1, 0, s.stream, nullptr, nullptr);
        }).find("of nothing") != std::string::npos);
  CHECK(broken([](Scene& s) { s.launch(1, 1025); }).find("threads") != std::string::npos);
  CHECK(broken([](Scene& s) { s.launch(1, 1, 50000); }).find("cuFuncSetAttribute") != std::string::npos);
  CHECK(broken([](Scene& s) {
          api().cuFuncSetAttribute(s.kernel, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 * 1024);
        }).find("this device allows") != std::string::npos);
  CHECK(broken([](Scene&) {
          api().cuCtxSetCurrent(nullptr);
          CUdeviceptr p;
          api().cuMemAlloc_v2(&p, 8);
        }).find("no context is current") != std::string::npos);
  CHECK(broken([](Scene& s) {
          api().cuMemcpyHtoDAsync_v2(s.device, s.host, 16, s.stream);
          api().cuMemFreeHost(s.host);
        }).find("while a copy of it is under way") != std::string::npos);
  CHECK(broken([](Scene& s) {
          s.launch();
          api().cuModuleUnload(s.module);
        }).find("while a stream has work") != std::string::npos);
  CHECK(broken([](Scene&) {
          CUevent e = nullptr;
          api().cuEventRecord(e, nullptr);
        }).find("no event") != std::string::npos);
}

TEST_CASE("fake driver: what may not be done while a stream captures") {
  const auto captured = [](const std::function<void(Scene&)>& act) {
    return broken([&](Scene& s) {
      api().cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
      act(s);
      CUgraph graph;
      api().cuStreamEndCapture(s.stream, &graph);
      api().cuGraphDestroy(graph);
    });
  };
  const std::string rule = "not allowed while a stream captures";
  CHECK(captured([](Scene& s) { api().cuStreamSynchronize(s.stream); }).find(rule) != std::string::npos);
  CHECK(captured([](Scene&) {
          CUdeviceptr p;
          api().cuMemAlloc_v2(&p, 8);
        }).find(rule) != std::string::npos);
  CHECK(captured([](Scene&) {
          void* p;
          api().cuMemHostAlloc(&p, 8, 0);
        }).find(rule) != std::string::npos);
  CHECK(captured([](Scene& s) { api().cuStreamQuery(s.stream); }).find(rule) != std::string::npos);
}

namespace {
// A graph of one launch.
CUgraphExec graph_of(const Scene& s) {
  CUgraph graph;
  CUgraphExec made = nullptr;
  CHECK(api().cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == CUDA_SUCCESS);
  s.launch();
  CHECK(api().cuStreamEndCapture(s.stream, &graph) == CUDA_SUCCESS);
  CHECK(api().cuGraphInstantiateWithFlags(&made, graph, 0) == CUDA_SUCCESS);
  CHECK(api().cuGraphDestroy(graph) == CUDA_SUCCESS);
  return made;
}
}  // namespace

TEST_CASE("fake driver: a graph does what was captured, as often as it is launched, in the stream's order") {
  Scene s;
  auto* host = static_cast<std::uint32_t*>(s.host);
  host[0] = 5, host[1] = 0;
  const CUgraphExec graph = graph_of(s);
  api().cuMemcpyHtoDAsync_v2(s.device, host, 4, s.stream);
  for (int i = 0; i < 3; ++i) CHECK(api().cuGraphLaunch(graph, s.stream) == CUDA_SUCCESS);
  api().cuMemcpyDtoHAsync_v2(host + 1, s.device, 4, s.stream);
  api().cuStreamSynchronize(s.stream);
  CHECK(host[1] == 8);
  CHECK(api().cuGraphExecDestroy(graph) == CUDA_SUCCESS);
}

TEST_CASE("fake driver: a graph is not destroyed while it is on its way, nor launched after") {
  CHECK(broken([](Scene& s) {
          const CUgraphExec graph = graph_of(s);
          api().cuGraphLaunch(graph, s.stream);
          api().cuGraphExecDestroy(graph);
          api().cuStreamSynchronize(s.stream);
          api().cuGraphExecDestroy(graph);
        }).find("on its way") != std::string::npos);
  CHECK(broken([](Scene& s) {
          const CUgraphExec graph = graph_of(s);
          api().cuGraphExecDestroy(graph);
          api().cuGraphLaunch(graph, s.stream);
        }).find("no graph") != std::string::npos);
}

TEST_CASE("fake driver: work is done when it is waited for, copies read their source then") {
  Scene s;
  auto* host = static_cast<std::uint32_t*>(s.host);
  host[0] = 5;
  api().cuMemcpyHtoDAsync_v2(s.device, host, 4, s.stream);
  CUevent copied;
  api().cuEventCreate(&copied, CU_EVENT_DISABLE_TIMING);
  api().cuEventRecord(copied, s.stream);
  s.launch();
  api().cuMemcpyDtoHAsync_v2(host + 1, s.device, 4, s.stream);
  host[0] = 7, host[1] = 0;
  CHECK(api().cuEventQuery(copied) == CUDA_ERROR_NOT_READY);
  CHECK(api().cuEventSynchronize(copied) == CUDA_SUCCESS);
  CHECK(host[1] == 0);
  api().cuStreamSynchronize(s.stream);
  CHECK(host[1] == 8);
  api().cuEventDestroy_v2(copied);
}

TEST_CASE("fake driver: a graph does again what was captured, and nothing before") {
  Scene s;
  auto* host = static_cast<std::uint32_t*>(s.host);
  host[0] = 1;
  api().cuMemcpyHtoDAsync_v2(s.device, host, 4, s.stream);
  api().cuStreamSynchronize(s.stream);
  CUgraph graph;
  CUgraphExec exec;
  REQUIRE(api().cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == CUDA_SUCCESS);
  s.launch();
  s.launch();
  REQUIRE(api().cuStreamEndCapture(s.stream, &graph) == CUDA_SUCCESS);
  REQUIRE(api().cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  api().cuGraphDestroy(graph);
  const auto now = [&] {
    api().cuMemcpyDtoHAsync_v2(host, s.device, 4, s.stream);
    api().cuStreamSynchronize(s.stream);
    return host[0];
  };
  CHECK(now() == 1);
  for (int k = 0; k < 3; ++k) api().cuGraphLaunch(exec, s.stream);
  CHECK(now() == 7);
  api().cuGraphExecDestroy(exec);
}

TEST_CASE("fake driver: a kernel that leaves its memory fails the stream for good, and says where") {
  const Played played("rules=record");
  Scene s;
  CUdeviceptr beyond = s.device + 256;
  void* params[] = {&beyond};
  api().cuLaunchKernel(s.kernel, 1, 1, 1, 1, 1, 1, 0, s.stream, params, nullptr);
  CHECK(api().cuStreamSynchronize(s.stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(std::string(report().message).find("PTX line 8: load of 4 bytes") == 0);
  CHECK(s.launch() == CUDA_ERROR_ILLEGAL_ADDRESS);
}
