// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device.h"

#include "base/usable_memory.h"
#include "gmock/gmock.h"

namespace fedtune {
namespace {

ComputeDevice SecondGpu() {
  return *ChooseDeviceAmong({.count = [] { return 2; },
                             .describe =
                                 [](int) {
                                   return Gpu{"NVIDIA L4", 24'000'000'000, 23'000'000'000, true};
                                 },
                             .test = [](int) { return absl::OkStatus(); }},
                            "cuda:1");
}

TEST(DescribeDeviceTest, AGpuIsDescribedWithItsOwnMemory) {
  const DeviceDescription description = DescribeDevice(SecondGpu(), 1);
  EXPECT_EQ(description.kind, "cuda:1");
  EXPECT_EQ(description.name, "NVIDIA L4");
  EXPECT_EQ(description.memory_bytes, 24'000'000'000);
  EXPECT_EQ(description.threads, 1);
}

TEST(DescribeDeviceTest, TheCpuIsDescribedWithTheMachinesMemoryAndAllCores) {
  const DeviceDescription description = DescribeDevice(ComputeDevice::Cpu(), 0);
  EXPECT_EQ(description.kind, "cpu");
  EXPECT_GT(description.memory_bytes, 100'000'000);
  EXPECT_GT(description.threads, 0);
}

TEST(DescribeDeviceTest, NoMoreThreadsAreToldOfThanThereAreCores) {
  EXPECT_EQ(DescribeDevice(ComputeDevice::Cpu(), 4096).threads,
            static_cast<uint32_t>(UsableCores()));
}

TEST(ThreadCountTest, IsWhatIsAskedForUpToTheCoresThereAre) {
  EXPECT_EQ(ThreadsFor(0, 8).count, 8);
  EXPECT_EQ(ThreadsFor(3, 8).count, 3);
  EXPECT_EQ(ThreadsFor(8, 8).count, 8);
  EXPECT_EQ(ThreadsFor(8, 8).remark, "");
}

TEST(ThreadCountTest, BeyondThatTheRemarkSaysWhatIsDoneInstead) {
  EXPECT_EQ(ThreadsFor(4096, 2).count, 2);
  EXPECT_EQ(ThreadsFor(4096, 2).remark,
            "4096 threads are asked for and this process may use 2 cores, so it computes with 2; "
            "say 0 for all cores, or give it more of them");
}

TEST(BudgetTest, IsWhatWasFreeOnTheGpu) {
  const MemoryBudget budget = BudgetOf(SecondGpu(), Recompute::kNever, std::nullopt);
  EXPECT_EQ(budget.bytes, 23'000'000'000);
  EXPECT_EQ(budget.type, ComputeType::kBf16);
  EXPECT_EQ(budget.recompute, Recompute::kNever);
}

TEST(BudgetTest, OnTheCpuIsWhatTheProcessMayUse) {
  const MemoryBudget budget = BudgetOf(ComputeDevice::Cpu(), Recompute::kAuto, std::nullopt);
  EXPECT_EQ(budget.bytes, UsableMemory());
  EXPECT_EQ(budget.type, ComputeTypeOfCpu());
}

TEST(BudgetTest, IsWhatTheConfigurationSays) {
  EXPECT_EQ(BudgetOf(ComputeDevice::Cpu(), Recompute::kAuto, 1.5).bytes, 1'500'000'000);
  EXPECT_EQ(BudgetOf(SecondGpu(), Recompute::kAuto, 80).bytes, 80'000'000'000);
}

}  // namespace
}  // namespace fedtune
