// What the driver of our own keeps: devices, objects that are alive, work that waits in streams. One lock for all of
// it.
//
// Work given to a stream is done when somebody waits for it, no sooner: an asynchronous copy reads its source then. Who
// changes a buffer that is still being read, or reads one that is not written yet, sees it in every result.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "control.h"
#include "host/cuda_api.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/module.h"

struct CUctx_st {
  int device;
};
struct CUfunc_st {
  CUmod_st* module;
  const octavo::ptx::Function* function;
  int most_dynamic_shared;
};
struct CUmod_st {
  int device;
  std::unique_ptr<octavo::ptx::Module> module;
  std::map<std::string, std::unique_ptr<CUfunc_st>> functions;
};
// One piece of work. needs: objects and memory that must be alive when it is done.
struct Work {
  std::function<CUresult()> act;
  CUevent records = nullptr;  // this event's record number
  std::uint64_t record = 0;
  const void* host = nullptr;  // that a copy reads or writes
};
struct CUstream_st {
  int device;
  std::deque<Work> queue;
  std::unique_ptr<std::vector<Work>> capture;
};
struct CUevent_st {
  std::uint64_t recorded = 0, reached = 0;  // numbers of records
  CUstream stream = nullptr;                // where it was recorded last
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
  std::uint64_t launched = 0;
  std::shared_ptr<std::uint64_t> done = std::make_shared<std::uint64_t>(0);  // launches of it
};

namespace octavo::fake {

struct Device {
  std::string name = "Fake_GPU";
  int major = 9, minor = 0, multiprocessors = 8;
  std::uint64_t memory_bytes = std::uint64_t(80) << 30;
  ptx::Memory memory;
  CUctx_st context{};
  int retained = 0;
  std::set<CUdeviceptr> allocations;
};

struct HostBlock {
  std::unique_ptr<std::uint8_t[]> storage;
  std::size_t bytes;
};

class State {
 public:
  State();
  void configure(const std::string& settings);
  // Settings that were left in the control file.
  void look_for_settings();
  void reset();
  octavo_fake_report counted() const;
  void write_report() const;

  std::recursive_mutex lock;
  bool initialised = false;
  int driver_version = 13000;
  std::vector<std::unique_ptr<Device>> devices;
  std::set<CUmodule> modules;
  std::set<CUstream> streams;
  std::set<CUevent> events;
  std::set<CUgraph> graphs;
  std::set<CUgraphExec> executables;
  std::map<std::uintptr_t, HostBlock> host;  // pinned memory, by its beginning
  CUstream capturing = nullptr;
  std::thread::id capturing_thread;
  int capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  octavo_fake_report report{};
  CUresult sticky = CUDA_SUCCESS;  // what every call returns from now on
  bool abort_on_rules = true;
  std::uint64_t seed = 0;
  std::string report_file, control_file;
  std::string wrong;  // how the names of kernels that compute wrongly begin; empty: none does
  std::uint64_t fail_at = 0, lost_at = 0;
  CUresult fail_with = CUDA_SUCCESS;
  const char* failed_call = "";  // the one that was made to fail

  // A rule of the API that the caller broke. Returns `error`, for the caller to have.
  CUresult broken(CUresult error, const std::string& rule);
  // Does a stream's work up to and with record `record` of `event`; all of it where event is null.
  CUresult drain(CUstream stream, CUevent event = nullptr, std::uint64_t record = 0);
  CUresult drain_all(int device);
  bool is_pinned(const void* address, std::size_t bytes) const;
  Device* of_address(CUdeviceptr address);
};

State& state();
CUcontext& current();  // of this thread

// One call from its beginning to its end: takes the lock, counts, and says whether the call may go on.
class Call {
 public:
  // gives_back: the call has its effect even where it is made to fail.
  enum Kind { plain, gives_back };
  explicit Call(const char* name, Kind kind = plain, bool needs_context = true);
  ~Call() { state().lock.unlock(); }
  // Before the effect of a plain call, after that of one that gives something back.
  bool failed() const { return error_ != CUDA_SUCCESS; }
  CUresult error() const { return error_; }
  CUresult broken(const std::string& rule, CUresult error = CUDA_ERROR_INVALID_VALUE) const {
    return state().broken(error, std::string(name_) + ": " + rule);
  }
  Device& device() const { return *state().devices[static_cast<std::size_t>(current()->device)]; }
  // Takes work for a stream, or for the graph that it is captured into.
  CUresult enqueue(CUstream stream, Work work) const;
  // Null when this call may be made while a stream captures; otherwise what is wrong with it.
  bool illegal_in_capture(CUresult* out) const;

 private:
  const char* name_;
  CUresult error_ = CUDA_SUCCESS;
};

}  // namespace octavo::fake

#define OCTAVO_ENTRY extern "C" __attribute__((visibility("default"))) CUresult
