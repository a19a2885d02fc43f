// See state.h and control.h.
#include "state.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace octavo::fake {

namespace {
// Errors after which a context is good for nothing.
bool stays(CUresult error) {
  return error == CUDA_ERROR_ECC_UNCORRECTABLE || error == CUDA_ERROR_ILLEGAL_ADDRESS ||
         error == CUDA_ERROR_LAUNCH_FAILED;
}
}  // namespace

State& state() {
  static State* const all = new State;  // outlives whatever the process ends with
  return *all;
}
CUcontext& current() {
  static thread_local CUcontext context = nullptr;
  return context;
}

State::State() {
  devices.push_back(std::make_unique<Device>());
  if (const char* settings = std::getenv("OCTAVO_FAKE_CUDA")) configure(settings);
}

void State::configure(const std::string& settings) {
  std::istringstream words(settings);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals), value = equals == std::string::npos ? "" : word.substr(equals + 1);
    const auto number = [&] { return std::strtoull(value.c_str(), nullptr, 0); };
    if (key == "devices") {
      while (devices.size() < number()) {
        auto next = std::make_unique<Device>();
        next->context.device = static_cast<int>(devices.size());
        devices.push_back(std::move(next));
      }
      devices.resize(number());
    } else if (key == "driver") {
      driver_version = static_cast<int>(number());
    } else if (key == "fail") {
      fail_at = report.calls + number();
      fail_with = std::atoi(value.c_str() + value.find(':') + 1);
    } else if (key == "lost") {
      lost_at = report.calls + number();
    } else if (key == "rules") {
      abort_on_rules = value != "record";
    } else if (key == "report") {
      report_file = value;
    } else if (key == "control") {
      control_file = value;
    } else if (key == "reset") {
      reset();
    } else if (key == "tell") {
      write_report();
    } else if (key == "wrong") {
      wrong = value;
    } else if (key == "order") {
      seed = number();
    } else {
      for (auto& device : devices) {
        if (key == "memory")
          device->memory_bytes = number();
        else if (key == "name")
          device->name = value;
        else if (key == "multiprocessors")
          device->multiprocessors = static_cast<int>(number());
        else if (key == "capability")
          device->major = value[0] - '0', device->minor = value[2] - '0';
        else
          std::fprintf(stderr, "fake CUDA: no setting %s\n", key.c_str());
      }
    }
  }
}

void State::look_for_settings() {
  if (control_file.empty()) return;
  std::ifstream file(control_file);
  if (!file) return;
  std::ostringstream text;
  text << file.rdbuf();
  std::remove(control_file.c_str());
  configure(text.str());
}

void State::reset() {
  report = {};
  // A device that was lost does nothing of what waited; one that takes its place begins with nothing.
  if (sticky) {
    for (const CUstream stream : streams) stream->queue.clear();
  }
  sticky = CUDA_SUCCESS;
  fail_at = lost_at = 0;
  wrong.clear();
  failed_call = "";
}

octavo_fake_report State::counted() const {
  octavo_fake_report out = report;
  out.live_objects = modules.size() + streams.size() + events.size() + graphs.size() + executables.size();
  for (const auto& device : devices) {
    out.live_objects += static_cast<std::uint64_t>(device->retained);
    out.live_device += device->allocations.size();
    out.device_bytes += device->memory.bytes();
  }
  out.live_host = host.size();
  for (const CUstream stream : streams) out.waiting += stream->queue.size();
  return out;
}

void State::write_report() const {
  std::FILE* const file = report_file.empty() ? nullptr : std::fopen(report_file.c_str(), "w");
  if (!file) return;
  const octavo_fake_report r = counted();
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::fprintf(
      file,
      "{\"calls\": %llu, \"liveObjects\": %llu, \"liveDevice\": %llu, \"liveHost\": %llu, \"deviceBytes\": %llu, "
      "\"allocations\": %llu, \"brokenRules\": %llu, \"launches\": %llu, \"instructions\": %llu, \"inexactSums\": "
      "%llu, "
      "\"failedKernels\": %llu, \"failedCall\": \"%s\"}\n",
      n(r.calls), n(r.live_objects), n(r.live_device), n(r.live_host), n(r.device_bytes), n(r.allocations),
      n(r.broken_rules), n(r.launches), n(r.instructions), n(r.inexact_sums), n(r.failed_kernels), failed_call);
  std::fclose(file);
}

CUresult State::broken(CUresult error, const std::string& rule) {
  ++report.broken_rules;
  std::snprintf(report.message, sizeof report.message, "%s", rule.c_str());
  if (abort_on_rules) {
    std::fprintf(stderr, "fake CUDA: a rule of the API is broken: %s\n", rule.c_str());
    std::abort();
  }
  return error;
}

CUresult State::drain(CUstream stream, CUevent event, std::uint64_t record) {
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (sticky) return sticky;
    if (work.act) {
      if (const CUresult error = work.act()) {
        if (stays(error)) sticky = error;
        return error;
      }
    }
    if (work.records) {
      if (events.count(work.records)) work.records->reached = std::max(work.records->reached, work.record);
      if (work.records == event && work.record >= record) break;
    }
  }
  return sticky;
}
CUresult State::drain_all(int device) {
  for (const CUstream stream : streams) {
    if (stream->device != device) continue;
    if (const CUresult error = drain(stream)) return error;
  }
  return CUDA_SUCCESS;
}

bool State::is_pinned(const void* address, std::size_t bytes) const {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  auto block = host.upper_bound(at);
  if (block == host.begin()) return false;
  --block;
  const std::size_t offset = at - block->first;
  return offset <= block->second.bytes && bytes <= block->second.bytes - offset;
}

Device* State::of_address(CUdeviceptr address) {
  for (auto& device : devices) {
    if (device->memory.find(address, 0)) return device.get();
  }
  return nullptr;
}

Call::Call(const char* name, Kind kind, bool needs_context) : name_(name) {
  State& s = state();
  s.lock.lock();
  s.look_for_settings();
  const std::uint64_t k = ++s.report.calls;
  if (s.fail_at == k) {
    error_ = s.fail_with;
    s.failed_call = name;
    if (stays(error_)) s.sticky = error_;
  }
  if (s.lost_at && k >= s.lost_at) s.sticky = CUDA_ERROR_LAUNCH_FAILED;
  if (!error_) error_ = s.sticky;
  if (kind == plain && error_) return;
  if (!s.initialised && needs_context)
    error_ = CUDA_ERROR_NOT_INITIALIZED;
  else if (needs_context && !current())
    error_ = broken("no context is current in this thread", CUDA_ERROR_INVALID_CONTEXT);
  else if (needs_context && s.devices[static_cast<std::size_t>(current()->device)]->retained == 0)
    error_ = broken("the context has been released", CUDA_ERROR_INVALID_CONTEXT);
}

CUresult Call::enqueue(CUstream stream, Work work) const {
  State& s = state();
  if (!stream) return broken("the default stream, which waits for every other");
  if (!s.streams.count(stream))
    return broken("this is no stream, or one that was destroyed", CUDA_ERROR_INVALID_HANDLE);
  if (stream->device != current()->device)
    return broken("the stream belongs to another device's context", CUDA_ERROR_INVALID_HANDLE);
  if (stream->capture)
    stream->capture->push_back(std::move(work));
  else
    stream->queue.push_back(std::move(work));
  return CUDA_SUCCESS;
}

bool Call::illegal_in_capture(CUresult* out) const {
  const State& s = state();
  if (!s.capturing) return false;
  const bool others = s.capturing_thread != std::this_thread::get_id();
  if (others && s.capture_mode != CU_STREAM_CAPTURE_MODE_GLOBAL) return false;
  *out = broken("not allowed while a stream captures", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return true;
}

}  // namespace octavo::fake

using octavo::fake::state;

extern "C" __attribute__((visibility("default"))) void octavo_fake_configure(const char* settings) {
  const std::lock_guard lock(state().lock);
  state().configure(settings);
}
extern "C" __attribute__((visibility("default"))) void octavo_fake_read(octavo_fake_report* out) {
  const std::lock_guard lock(state().lock);
  *out = state().counted();
}
__attribute__((destructor)) static void at_end() { state().write_report(); }
extern "C" __attribute__((visibility("default"))) void octavo_fake_reset(void) {
  const std::lock_guard lock(state().lock);
  state().reset();
}
