// SPDX-License-Identifier: Apache-2.0

#include "client/training/compute_device.h"

#include <string>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A machine with two L4s.
class ChooseDeviceTest : public ::testing::Test {
 protected:
  // The self-test leaves less memory than there was.
  absl::StatusOr<ComputeDevice> Choose(std::string_view name) {
    return ChooseDeviceAmong({.count = [this] { return count_; },
                              .describe = [this](int) { return gpu_; },
                              .test =
                                  [this](int index) {
                                    tested_.push_back(index);
                                    gpu_.free_memory_bytes -= 1'000'000'000;
                                    return self_test_;
                                  }},
                             name);
  }

  absl::StatusOr<int> count_ = 2;
  Gpu gpu_ = {"NVIDIA L4", 24'000'000'000, 23'500'000'000, true};
  absl::Status self_test_;
  std::vector<int> tested_;
};

TEST_F(ChooseDeviceTest, AutoIsTheFirstGpu) {
  const auto device = Choose("auto");
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(device->kind(), "cuda:0");
  EXPECT_EQ(device->gpu().name, "NVIDIA L4");
  EXPECT_FALSE(device->is_fallback());
  EXPECT_THAT(tested_, ElementsAre(0)) << "once";
}

TEST_F(ChooseDeviceTest, AGpuIsChosenByItsNumber) {
  EXPECT_EQ(Choose("cuda")->kind(), "cuda:0");
  EXPECT_EQ(Choose("cuda:1")->kind(), "cuda:1");
  EXPECT_THAT(tested_, ElementsAre(0, 1));
}

TEST_F(ChooseDeviceTest, TheCpuIsTakenWithoutALookAtGpus) {
  count_ = absl::InternalError("not to be asked");
  const auto device = Choose("cpu");
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(Describe(*device), "cpu");
  EXPECT_FALSE(device->is_gpu());
}

TEST_F(ChooseDeviceTest, WithoutAGpuAutoIsTheCpuAndSaysWhy) {
  count_ = absl::NotFoundError("CUDA finds no GPU");
  const auto device = Choose("auto");
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(Describe(*device), "cpu, no GPU: CUDA finds no GPU");
  EXPECT_FALSE(device->is_fallback()) << "nothing is wrong";
}

TEST_F(ChooseDeviceTest, WhereTheDriverFailsAutoIsTheCpuAndSomebodyShouldKnow) {
  count_ = absl::FailedPreconditionError("the driver is too old");
  const auto device = Choose("auto");
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(Describe(*device), "cpu, no GPU: the driver is too old");
  EXPECT_TRUE(device->is_fallback());
}

TEST_F(ChooseDeviceTest, WithoutAGpuOneThatIsAskedForIsRefused) {
  count_ = absl::NotFoundError("CUDA finds no GPU");
  const absl::Status status = Choose("cuda").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(status), "the device is \"cuda\", but CUDA finds no GPU. \"cpu\" always works");
}

TEST_F(ChooseDeviceTest, AGpuBehindTheLastIsRefused) {
  const absl::Status status = Choose("cuda:2").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(status), HasSubstr("the last GPU is cuda:1"));
}

TEST_F(ChooseDeviceTest, AutoPassesAGpuByThatFailsItsSelfTest) {
  self_test_ = absl::DataLossError("a norm differs");
  const auto device = Choose("auto");
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(device->kind(), "cpu");
  EXPECT_TRUE(device->is_fallback());
  EXPECT_THAT(device->remark(), AllOf(HasSubstr("NVIDIA L4"), HasSubstr("a norm differs")));
}

TEST_F(ChooseDeviceTest, AGpuThatIsAskedForAndFailsItsSelfTestIsRefused) {
  self_test_ = absl::DataLossError("a norm differs");
  const absl::Status status = Choose("cuda:1").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(status), HasSubstr("GPU 1, NVIDIA L4, failed its self-test: a norm differs"));
}

TEST_F(ChooseDeviceTest, AGpuThatFailsItsSelfTestIsRefusedWithTheMemoryThatOthersLeftIt) {
  gpu_.free_memory_bytes = 1'100'000'000;
  self_test_ = absl::FailedPreconditionError("a norm failed (CUDA out of memory)");
  EXPECT_THAT(
      Message(Choose("cuda").status()),
      HasSubstr("the end of another program that uses it: 1.1 GB of its 24.0 GB were free"));
}

TEST_F(ChooseDeviceTest, AGpuWithoutBf16IsRefusedUntested) {
  gpu_.has_bf16 = false;
  EXPECT_THAT(Choose("cuda"), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(Choose("auto")->is_fallback());
  EXPECT_THAT(tested_, IsEmpty());
}

TEST_F(ChooseDeviceTest, AnUnknownNameIsRefused) {
  for (const std::string name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:128"}) {
    EXPECT_THAT(Choose(name), HasCode(absl::StatusCode::kInvalidArgument)) << name;
  }
}

TEST_F(ChooseDeviceTest, AGpuIsDescribedWithTheMemoryThatItsSelfTestLeaves) {
  EXPECT_THAT(Describe(*Choose("auto")),
              HasSubstr("cuda:0, NVIDIA L4, 24.0 GB of which 22.5 GB are free, self-test passed"));
}

}  // namespace
}  // namespace fedtune
