// See memory.h.
#include "memory.h"

#include <algorithm>
#include <cstring>

namespace octavo::cuda {

namespace {
constexpr std::uint64_t alignment = 256;
}

CUdeviceptr Arena::allocate(std::uint64_t bytes) {
  bytes = std::max<std::uint64_t>((bytes + alignment - 1) / alignment * alignment, alignment);
  auto piece = std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& p) { return p.bytes - p.next >= bytes; });
  if (piece == pieces_.end()) {
    Piece made{0, std::max(bytes, piece_bytes_), 0, 0};
    CUresult result = driver().cuMemAlloc_v2(&made.base, made.bytes);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && made.bytes > bytes) {
      made.bytes = bytes;  // the device may have this much, if not a whole piece
      result = driver().cuMemAlloc_v2(&made.base, made.bytes);
    }
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
      std::size_t free = 0, total = 0;
      driver().cuMemGetInfo_v2(&free, &total);
      throw Failure{result, "the device has no " + std::to_string(bytes) + " bytes left: " + std::to_string(free) +
                                " of " + std::to_string(total) + " are free"};
    }
    check(result, "cuMemAlloc");
    piece = pieces_.insert(pieces_.end(), made);
  }
  const CUdeviceptr address = piece->base + piece->next;
  parts_.emplace(address, bytes);
  piece->next += bytes;
  ++piece->parts;
  used_ += bytes;
  return address;
}

bool Arena::release(CUdeviceptr address) {
  const auto part = parts_.find(address);
  if (part == parts_.end()) return false;
  for (auto piece = pieces_.begin(); piece != pieces_.end(); ++piece) {
    if (address < piece->base || address - piece->base >= piece->bytes) continue;
    used_ -= part->second;
    // The last part's place can be used again at once.
    if (address + part->second == piece->base + piece->next) piece->next -= part->second;
    if (--piece->parts == 0) {
      piece->next = 0;
      if (keeps_) break;
      driver().cuMemFree_v2(piece->base);
      pieces_.erase(piece);
    }
    break;
  }
  parts_.erase(part);
  return true;
}

void Arena::clear() noexcept {
  for (const Piece& piece : pieces_) driver().cuMemFree_v2(piece.base);
  pieces_.clear();
  parts_.clear();
  used_ = 0;
}

Staging::Staging(std::uint64_t bytes, CUstream stream)
    : half_(std::max<std::uint64_t>(bytes / 2 / alignment * alignment, alignment)), stream_(stream) {
  try {
    void* memory = nullptr;
    OCTAVO_CU(cuMemHostAlloc, &memory, 2 * half_, CU_MEMHOSTALLOC_PORTABLE);
    memory_ = static_cast<std::uint8_t*>(memory);
    for (CUevent& event : read_) OCTAVO_CU(cuEventCreate, &event, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC);
  } catch (...) {
    give_back();
    throw;
  }
}
Staging::~Staging() { give_back(); }
void Staging::give_back() noexcept {
  for (CUevent event : read_) {
    if (event) driver().cuEventDestroy_v2(event);
  }
  if (memory_) driver().cuMemFreeHost(memory_);
}

// To the other half.
void Staging::turn() {
  OCTAVO_CU(cuEventRecord, read_[current_], stream_);
  in_flight_[current_] = true;
  current_ ^= 1;
  position_ = 0;
  if (in_flight_[current_]) OCTAVO_CU(cuEventSynchronize, read_[current_]);
  in_flight_[current_] = false;
}

void Staging::upload(CUdeviceptr to, const void* from, std::uint64_t bytes) {
  const auto* source = static_cast<const std::uint8_t*>(from);
  while (bytes > 0) {
    if (position_ == half_) turn();
    const std::uint64_t now = std::min(bytes, half_ - position_);
    std::uint8_t* place = memory_ + static_cast<std::uint64_t>(current_) * half_ + position_;
    std::memcpy(place, source, now);
    OCTAVO_CU(cuMemcpyHtoDAsync_v2, to, place, now, stream_);
    position_ = std::min(half_, (position_ + now + alignment - 1) / alignment * alignment);
    to += now, source += now, bytes -= now;
  }
}

// All of the current half may be used: what lies there is read before this copy writes, in the stream's order. Where the
// wait for it fails, it may still write: the next upload takes the other half.
void Staging::download(void* to, CUdeviceptr from, std::uint64_t bytes) {
  auto* out = static_cast<std::uint8_t*>(to);
  position_ = half_;
  while (bytes > 0) {
    const std::uint64_t now = std::min(bytes, half_);
    std::uint8_t* place = memory_ + static_cast<std::uint64_t>(current_) * half_;
    OCTAVO_CU(cuMemcpyDtoHAsync_v2, place, from, now, stream_);
    OCTAVO_CU(cuStreamSynchronize, stream_);
    std::memcpy(out, place, now);
    from += now, out += now, bytes -= now;
  }
  position_ = 0;
}

}  // namespace octavo::cuda
