// SPDX-License-Identifier: Apache-2.0

#include "client/training/tensor_counter.h"

#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"

namespace fedtune::testing {
namespace {

std::atomic<int64_t> bytes = 0;
std::atomic<int64_t> peak_bytes = 0;

void Count(int64_t more) {
  const int64_t now = bytes += more;
  for (int64_t peak = peak_bytes; now > peak;) {
    if (peak_bytes.compare_exchange_weak(peak, now)) break;
  }
}

// A block's size stands before its values.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    auto* block = static_cast<std::byte*>(::operator new(kBefore + size, kAlignment));
    std::memcpy(block, &size, sizeof(size));
    Count(static_cast<int64_t>(size));
    return {block + kBefore, block + kBefore, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

 private:
  static constexpr size_t kBefore = 64;
  static constexpr std::align_val_t kAlignment{kBefore};

  static void Free(void* values) {
    std::byte* block = static_cast<std::byte*>(values) - kBefore;
    size_t size = 0;
    std::memcpy(&size, block, sizeof(size));
    Count(-static_cast<int64_t>(size));
    ::operator delete(block, kAlignment);
  }
};

}  // namespace

void TensorCounter::Start() {
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator);
}

int64_t TensorCounter::Bytes() { return bytes; }

int64_t TensorCounter::TakePeakBytes() { return peak_bytes.exchange(bytes); }

}  // namespace fedtune::testing
