// SPDX-License-Identifier: Apache-2.0

#include "client/commands/remembered_gpu.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

class RememberedGpuTest : public ::testing::Test {
 protected:
  RememberedGpuTest() { config_.state_dir = directory_.path(); }

  static ComputeDevice Chosen(const absl::StatusOr<int>& gpus) {
    return *ChooseDeviceAmong({.count = [gpus] { return gpus; },
                               .describe =
                                   [](int) {
                                     return Gpu{"NVIDIA L4", 24'000'000'000, 23'000'000'000, true};
                                   },
                               .test = [](int) { return absl::OkStatus(); }},
                              "auto");
  }
  static ComputeDevice None() { return Chosen(absl::NotFoundError("CUDA finds no GPU")); }

  const testing::TemporaryDirectory directory_;
  std::vector<std::string> logged_;
  Log log_{[this](std::string_view line) { logged_.emplace_back(line); }};
  ClientConfig config_;
};

TEST_F(RememberedGpuTest, IsMissedWhereThereIsNoneAnyMore) {
  RememberGpu(directory_.path(), Chosen(1), log_);
  for (int start = 0; start < 2; ++start) {
    EXPECT_THAT(MissedGpu(config_, None()), Optional(std::string("cuda:0, NVIDIA L4")));
    RememberGpu(directory_.path(), None(), log_);
  }
  EXPECT_THAT(logged_, IsEmpty());
}

TEST_F(RememberedGpuTest, IsNotMissedWhereItIs) {
  RememberGpu(directory_.path(), Chosen(1), log_);
  EXPECT_EQ(MissedGpu(config_, Chosen(1)), std::nullopt);
}

TEST_F(RememberedGpuTest, IsNotMissedWhereThereNeverWasOne) {
  EXPECT_EQ(MissedGpu(config_, None()), std::nullopt);
}

TEST_F(RememberedGpuTest, IsNotMissedByWhoWantsTheCpu) {
  RememberGpu(directory_.path(), Chosen(1), log_);
  config_.device = "cpu";
  EXPECT_EQ(MissedGpu(config_, ComputeDevice::Cpu()), std::nullopt);
}

// That the driver fails is said anyway.
TEST_F(RememberedGpuTest, IsNotMissedWhereItIsThereAndFails) {
  RememberGpu(directory_.path(), Chosen(1), log_);
  EXPECT_EQ(MissedGpu(config_, Chosen(absl::FailedPreconditionError("old"))), std::nullopt);
}

TEST_F(RememberedGpuTest, TheLogSaysWhereItCannotBeStored) {
  RememberGpu(directory_.path() / "nowhere", Chosen(1), log_);
  EXPECT_THAT(logged_, ElementsAre(HasSubstr("the GPU is not remembered")));
}

}  // namespace
}  // namespace fedtune
