// The table of cuda/plugin.h. Nothing throws across the border: what failed becomes a number and a text.
#include "plugin.h"

#include <cstddef>
#include <cstdio>
#include <exception>
#include <new>

#include "device.h"

using octavo::cuda::Device;
using octavo::cuda::Failure;
using octavo::cuda::Launch;

// The addon hands over its own launches as they are.
static_assert(sizeof(Launch) == sizeof(octavo_cuda_launch) &&
              offsetof(Launch, grid) == offsetof(octavo_cuda_launch, grid) &&
              offsetof(Launch, shared) == offsetof(octavo_cuda_launch, shared) &&
              offsetof(Launch, params) == offsetof(octavo_cuda_launch, params) &&
              offsetof(Launch, params_bytes) == offsetof(octavo_cuda_launch, params_bytes));

struct octavo_cuda_context {
  Device device;
};

namespace {

template <class F>
int32_t guarded(octavo_cuda_message* message, F act) {
  const auto fail = [&](int code, const char* text) {
    std::snprintf(message->text, sizeof message->text, "%s", text);
    return code;
  };
  try {
    act();
    return 0;
  } catch (const Failure& failure) {
    return fail(failure.code, failure.text.c_str());
  } catch (const std::bad_alloc&) {
    return fail(OCTAVO_CUDA_OUT_OF_MEMORY, "the process has no memory left");
  } catch (const std::exception& e) {
    return fail(OCTAVO_CUDA_BAD_LAUNCH, e.what());
  }
}
// The same with the device's turn taken.
template <class F>
int32_t within(octavo_cuda_context* context, octavo_cuda_message* message, F act) {
  return guarded(message, [&] {
    const auto turn = context->device.enter();
    act(context->device);
  });
}

int32_t device_count(int32_t* count, octavo_cuda_message* message) {
  *count = 0;
  return guarded(message, [&] {
    if (!octavo::cuda::initialise()) return;
    int found = 0;
    OCTAVO_CU(cuDeviceGetCount, &found);
    *count = found;
  });
}
int32_t device_info(int32_t index, octavo_cuda_device* out, octavo_cuda_message* message) {
  return guarded(message, [&] {
    octavo::cuda::initialise();
    octavo::cuda::describe_device(index, *out);
  });
}

int32_t open_device(int32_t index, const octavo_cuda_options* options, octavo_cuda_context** out,
                    octavo_cuda_message* message) {
  *out = nullptr;
  return guarded(message, [&] {
    octavo::cuda::initialise();
    *out = new octavo_cuda_context{{index, options ? *options : octavo_cuda_options{}}};
  });
}
void close_device(octavo_cuda_context* context) {
  octavo_cuda_message ignored;
  within(context, &ignored, [](Device&) {});  // the context is current when its members go
  delete context;
}
int32_t memory_info(octavo_cuda_context* context, octavo_cuda_memory* out, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { *out = d.memory(); });
}
int32_t has_kernel(octavo_cuda_context* context, const char* kernel) {
  octavo_cuda_message ignored;
  bool found = false;
  within(context, &ignored, [&](Device& d) { found = d.has_kernel(kernel); });
  return found;
}
int32_t allocate(octavo_cuda_context* context, int32_t kind, uint64_t bytes, uint64_t* address,
                 octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { *address = d.allocate(kind, bytes); });
}
void release(octavo_cuda_context* context, uint64_t address) {
  octavo_cuda_message ignored;
  // A lost device's memory is forgotten all the same.
  if (within(context, &ignored, [&](Device& d) { d.release(address); })) context->device.release(address);
}
int32_t upload(octavo_cuda_context* context, uint64_t to, const void* from, uint64_t bytes,
               octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.staging().upload(to, from, bytes); });
}
int32_t download(octavo_cuda_context* context, void* to, uint64_t from, uint64_t bytes, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.staging().download(to, from, bytes); });
}
int32_t fill(octavo_cuda_context* context, uint64_t to, uint8_t value, uint64_t bytes, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.fill(to, value, bytes); });
}
int32_t run(octavo_cuda_context* context, const octavo_cuda_launch* launches, uint64_t count,
            octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.run(reinterpret_cast<const Launch*>(launches), count); });
}
int32_t wait(octavo_cuda_context* context, octavo_cuda_message* message) {
  return within(context, message, [](Device& d) { d.wait(); });
}

int32_t pin(octavo_cuda_context* context, uint64_t bytes, void** memory, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { *memory = d.steps().pin(bytes); });
}
int32_t copy_in(octavo_cuda_context* context, uint64_t to, const void* pinned, uint64_t bytes,
                octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.steps().copy_in(to, pinned, bytes); });
}
int32_t copy_out(octavo_cuda_context* context, void* pinned, uint64_t from, uint64_t bytes,
                 octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.steps().copy_out(pinned, from, bytes); });
}
int32_t event_make(octavo_cuda_context* context, octavo_cuda_event** out, octavo_cuda_message* message) {
  return within(context, message,
                [&](Device& d) { *out = reinterpret_cast<octavo_cuda_event*>(d.steps().make_event()); });
}
CUevent own(octavo_cuda_event* event) { return reinterpret_cast<CUevent>(event); }
CUgraphExec own(octavo_cuda_graph* graph) { return reinterpret_cast<CUgraphExec>(graph); }
int32_t event_record(octavo_cuda_context* context, octavo_cuda_event* event, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.steps().record(own(event)); });
}
int32_t event_wait(octavo_cuda_context* context, octavo_cuda_event* event, octavo_cuda_message* message) {
  return guarded(message, [&] {
    context->device.enter();  // and leave: the context stays current
    OCTAVO_CU(cuEventSynchronize, own(event));
  });
}
int32_t graph_make(octavo_cuda_context* context, const octavo_cuda_launch* launches, uint64_t count,
                   octavo_cuda_graph** out, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) {
    *out = reinterpret_cast<octavo_cuda_graph*>(d.capture(reinterpret_cast<const Launch*>(launches), count));
  });
}
int32_t graph_run(octavo_cuda_context* context, octavo_cuda_graph* graph, octavo_cuda_message* message) {
  return within(context, message, [&](Device& d) { d.steps().run(own(graph)); });
}
// A lost device's things are forgotten all the same.
template <class F>
void give_back(octavo_cuda_context* context, F act) {
  octavo_cuda_message ignored;
  if (within(context, &ignored, [&](Device& d) { act(d.steps()); })) act(context->device.steps());
}
void unpin(octavo_cuda_context* context, void* memory) {
  give_back(context, [&](octavo::cuda::Steps& s) { s.unpin(memory); });
}
void event_release(octavo_cuda_context* context, octavo_cuda_event* event) {
  give_back(context, [&](octavo::cuda::Steps& s) { s.release(own(event)); });
}
void graph_release(octavo_cuda_context* context, octavo_cuda_graph* graph) {
  give_back(context, [&](octavo::cuda::Steps& s) { s.release(own(graph)); });
}

constexpr octavo_cuda_api api = {OCTAVO_CUDA_ABI_VERSION,
                                 sizeof(octavo_cuda_api),
                                 device_count,
                                 device_info,
                                 open_device,
                                 close_device,
                                 memory_info,
                                 has_kernel,
                                 allocate,
                                 release,
                                 upload,
                                 download,
                                 fill,
                                 run,
                                 wait,
                                 pin,
                                 unpin,
                                 copy_in,
                                 copy_out,
                                 event_make,
                                 event_record,
                                 event_wait,
                                 event_release,
                                 graph_make,
                                 graph_run,
                                 graph_release};

}  // namespace

extern "C" __attribute__((visibility("default"))) const octavo_cuda_api* octavo_cuda_plugin(void) { return &api; }
