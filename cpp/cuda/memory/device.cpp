// See device.h.
#include "cuda/memory/device.h"

#include "../../../cuda/host/limits.h"
#include "cuda_loader.h"
#include "error.h"

namespace octavo::cuda {

// The launches of cuda/ops are handed to the plugin as they are.
static_assert(sizeof(Launch) == sizeof(octavo_cuda_launch) &&
              offsetof(Launch, params) == offsetof(octavo_cuda_launch, params) &&
              offsetof(Launch, params_bytes) == offsetof(octavo_cuda_launch, params_bytes));

Device::Device(int index) {
  std::string reason;
  api_ = cuda_api(&reason);
  if (!api_)
    throw Error(Code::device_unavailable, "no CUDA device can be used: " + reason,
                {{"expected", "a CUDA device"}, {"found", reason}});
  octavo_cuda_message message = {};
  octavo_cuda_device info = {};
  check(api_->device_info(index, &info, &message), message);
  check(api_->open(index, nullptr, &context_, &message), message);
  const int compute = info.compute_major * 10 + info.compute_minor;
  properties_ = {compute, info.multiprocessors, limits_of(compute).shared_bytes};
  isa_ = "sm_" + std::to_string(properties_.compute);
}
Device::~Device() { api_->close(context_); }

void Device::check(std::int32_t error, const octavo_cuda_message& message) const {
  if (error == 0) return;
  const std::string text = message.text;
  const Error::Details details = {{"cuda", std::to_string(error)}};
  if (error == OCTAVO_CUDA_OUT_OF_MEMORY) throw Error(Code::out_of_memory, text, details);
  if (error == OCTAVO_CUDA_BAD_LAUNCH) throw Error(Code::internal, text, details);
  if (error == OCTAVO_CUDA_NO_DRIVER || error == OCTAVO_CUDA_NO_DEVICE || error == OCTAVO_CUDA_INVALID_DEVICE)
    throw Error(Code::device_unavailable, text, details);
  throw Error(Code::engine_failed, "the CUDA device failed: " + text, details);
}

octavo_cuda_memory Device::memory() const {
  octavo_cuda_memory out = {};
  call(api_->memory_info, &out);
  return out;
}
std::uint64_t Device::allocate(int kind, std::uint64_t bytes) {
  std::uint64_t address = 0;
  call(api_->allocate, kind, bytes, &address);
  return address;
}
void Device::upload(std::uint64_t to, const void* from, std::uint64_t bytes) { call(api_->upload, to, from, bytes); }
void Device::download(void* to, std::uint64_t from, std::uint64_t bytes) { call(api_->download, to, from, bytes); }
void Device::zero(std::uint64_t to, std::uint64_t bytes) { call(api_->fill, to, std::uint8_t{0}, bytes); }
void Device::run(const Launches& launches) { run(launches.data(), launches.size()); }
void Device::run(const Launch* launches, std::size_t count) {
  if (count > 0) call(api_->run, reinterpret_cast<const octavo_cuda_launch*>(launches), std::uint64_t{count});
}
void Device::wait() { call(api_->wait); }

void* Device::pin(std::uint64_t bytes) {
  void* memory = nullptr;
  call(api_->pin, bytes, &memory);
  return memory;
}
void Device::copy_in(std::uint64_t to, const void* pinned, std::uint64_t bytes) {
  call(api_->copy_in, to, pinned, bytes);
}
void Device::copy_out(void* pinned, std::uint64_t from, std::uint64_t bytes) {
  call(api_->copy_out, pinned, from, bytes);
}
octavo_cuda_event* Device::make_event() {
  octavo_cuda_event* event = nullptr;
  call(api_->event_make, &event);
  return event;
}
void Device::record(octavo_cuda_event* event) { call(api_->event_record, event); }
void Device::wait(octavo_cuda_event* event) { call(api_->event_wait, event); }
octavo_cuda_graph* Device::make_graph(const Launches& launches) {
  octavo_cuda_graph* graph = nullptr;
  call(api_->graph_make, reinterpret_cast<const octavo_cuda_launch*>(launches.data()), std::uint64_t{launches.size()},
       &graph);
  return graph;
}
void Device::run(octavo_cuda_graph* graph) { call(api_->graph_run, graph); }

}  // namespace octavo::cuda
