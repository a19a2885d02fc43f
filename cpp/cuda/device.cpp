// See device.h.
#include "cuda/device.h"

#include "../../cuda/host/limits.h"
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
  octavo_cuda_message message = {};
  octavo_cuda_memory out = {};
  check(api_->memory_info(context_, &out, &message), message);
  return out;
}
std::uint64_t Device::allocate(int kind, std::uint64_t bytes) {
  octavo_cuda_message message = {};
  std::uint64_t address = 0;
  check(api_->allocate(context_, kind, bytes, &address, &message), message);
  return address;
}
void Device::upload(std::uint64_t to, const void* from, std::uint64_t bytes) {
  octavo_cuda_message message = {};
  check(api_->upload(context_, to, from, bytes, &message), message);
}
void Device::download(void* to, std::uint64_t from, std::uint64_t bytes) {
  octavo_cuda_message message = {};
  check(api_->download(context_, to, from, bytes, &message), message);
}
void Device::zero(std::uint64_t to, std::uint64_t bytes) {
  octavo_cuda_message message = {};
  check(api_->fill(context_, to, 0, bytes, &message), message);
}
void Device::run(const Launches& launches) {
  if (launches.empty()) return;
  octavo_cuda_message message = {};
  check(api_->run(context_, reinterpret_cast<const octavo_cuda_launch*>(launches.data()), launches.size(), &message),
        message);
}
void Device::wait() {
  octavo_cuda_message message = {};
  check(api_->wait(context_, &message), message);
}

}  // namespace octavo::cuda
