// SPDX-License-Identifier: Apache-2.0

#include "client/training/tensor_memory.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ATen/ops/empty.h"
#include "ATen/ops/full.h"
#include "c10/core/CPUAllocator.h"
#include "c10/util/Exception.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;

class TensorMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { KeepTensorsTogether(); }
};

TEST_F(TensorMemoryTest, TensorsLieWhereVectorsWantThem) {
  std::vector<at::Tensor> tensors;
  for (int64_t size = 1; size < 2000; size = size * 3 / 2 + 1) {
    tensors.push_back(at::full({size}, static_cast<double>(size)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors.back().const_data_ptr()) % 64, 0U) << size;
  }
  for (const at::Tensor& tensor : tensors) {
    EXPECT_TRUE(tensor.eq(static_cast<double>(tensor.size(0))).all().item<bool>());
  }
}

TEST_F(TensorMemoryTest, OneWithoutValuesIsFine) {
  const at::Tensor none = at::empty({0, 3});
  EXPECT_EQ(none.clone().numel(), 0);
}

TEST_F(TensorMemoryTest, TooLargeATensorIsRefusedForMemory) {
  EXPECT_THROW(c10::GetCPUAllocator()->allocate(SIZE_MAX), c10::OutOfMemoryError);
}

// What LibTorch's own way of asking for memory does not do with glibc 2.36.
TEST_F(TensorMemoryTest, ATensorTakesTheHoleThatOneOfItsSizeLeft) {
  const auto heap = [] { return mallinfo2().arena; };
  constexpr int64_t kSize = 100'000;  // In the heap, not mapped.
  std::vector<at::Tensor> tensors;
  for (int i = 0; i < 20; ++i) tensors.push_back(at::empty({kSize}, at::kByte));
  const size_t before = heap();
  for (int i = 0; i < 20; i += 2) {
    tensors[static_cast<size_t>(i)] = at::Tensor();
    tensors[static_cast<size_t>(i)] = at::empty({kSize}, at::kByte);
  }
  EXPECT_EQ(heap(), before);
}

#ifndef FEDTUNE_UNDER_SANITIZER  // Which has a malloc of its own.

int64_t ResidentBytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

constexpr int64_t kLarge = 200 << 20;  // Mapped, by default.

int64_t PageFaults() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST_F(TensorMemoryTest, WhatATensorLeavesTheNextOneFindsWithItsPages) {
  at::Tensor tensor = at::full({kLarge}, 1, at::kByte);
  tensor = at::Tensor();
  const int64_t before = PageFaults();
  tensor = at::full({kLarge}, 2, at::kByte);
  EXPECT_LT(PageFaults() - before, 1000);  // Of 51,200 pages of 4 KiB.
}

// The flags of the mapping that an address lies in.
std::string FlagsOf(const void* address) {
  const auto place = reinterpret_cast<uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool is_there = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      is_there = begin <= place && place < end;
    } else if (is_there && line.starts_with("VmFlags:")) {
      return line;
    }
  }
  return "";
}

TEST_F(TensorMemoryTest, HugePagesAreAskedForAlsoWhereMemoryWasGivenBack) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    GTEST_SKIP() << "this system has no huge pages";
  }
  for (int i = 0; i < 2; ++i) {
    at::Tensor tensor = at::full({kLarge}, 1, at::kByte);
    EXPECT_THAT(FlagsOf(tensor.const_data_ptr<uint8_t>() + kLarge / 2), HasSubstr(" hg"));
    tensor = at::Tensor();
    ReturnFreeMemory();
  }
}

TEST_F(TensorMemoryTest, WhatIsFreeIsGivenBackOnDemand) {
  at::Tensor tensor = at::full({kLarge}, 1, at::kByte);
  tensor = at::Tensor();
  const int64_t kept = ResidentBytes();
  ReturnFreeMemory();
  EXPECT_LT(ResidentBytes(), kept - kLarge / 2);
}

#endif

}  // namespace
}  // namespace fedtune
