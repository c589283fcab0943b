// SPDX-License-Identifier: Apache-2.0

#include "client/training/tensor_memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"
#include "c10/util/Exception.h"

namespace fedtune {
namespace {

constexpr size_t kAlignment = 64;

// The heap grows by so much at least, of which nothing is taken before it is used.
constexpr int kGrowth = 64 << 20;

uintptr_t EndOfHeap() { return reinterpret_cast<uintptr_t>(sbrk(0)); }

// malloc()'s block stands before the tensor's values: there is room, because it
// lies at a multiple of 16 bytes, and the values at the next one of 64.
void Free(void* values) {
  if (values == nullptr) return;
  void* block = nullptr;
  std::memcpy(&block, static_cast<std::byte*>(values) - sizeof(block), sizeof(block));
  std::free(block);
}

class MallocAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (size == 0) return {nullptr, nullptr, &Free, cpu};
    void* block = size <= SIZE_MAX - kAlignment ? std::malloc(size + kAlignment) : nullptr;
    TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, size, " bytes for a tensor");
    WantHugePages();
    const size_t rest = reinterpret_cast<uintptr_t>(block) % kAlignment;
    std::byte* values = static_cast<std::byte*>(block) + (kAlignment - rest);
    std::memcpy(values - sizeof(block), &block, sizeof(block));
    return {values, values, &Free, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Free; }

  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

  // What the heap has now keeps its pages as they are.
  void WantHugePagesFromHereOn() { huge_until_ = EndOfHeap(); }

 private:
  // Asks for them where the heap has grown. A system without any gives small ones.
  void WantHugePages() {
    const uintptr_t end = EndOfHeap(), begin = huge_until_.exchange(end);
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }

  std::atomic<uintptr_t> huge_until_ = 0;  // How far huge pages have been asked for.
};

// LibTorch wants one for as long as the process lives.
MallocAllocator& TheAllocator() {
  static MallocAllocator allocator;
  return allocator;
}

}  // namespace

void KeepTensorsTogether() {
  c10::SetCPUAllocator(&TheAllocator());
  // One heap for all threads: the others of glibc's end at 64 MB, and give back what
  // becomes free whatever their threshold says. A sanitizer's malloc ignores all this.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);  // Never; the largest number would be 2 GiB.
  mallopt(M_TOP_PAD, kGrowth);
  TheAllocator().WantHugePagesFromHereOn();
}

void ReturnFreeMemory() {
  malloc_trim(0);
  TheAllocator().WantHugePagesFromHereOn();
}

}  // namespace fedtune
