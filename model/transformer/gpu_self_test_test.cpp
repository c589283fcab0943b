// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/gpu_self_test.h"

#include <cmath>
#include <string>

#include "ATen/ops/full.h"
#include "absl/status/statusor.h"
#include "c10/util/Exception.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

// A stand-in for a device that computes something else: LibTorch's own device
// without data.
const at::Device kOther(at::kMeta);

TEST(GpuSelfTestTest, TheCpuAgreesWithItself) { EXPECT_THAT(TestGpu(at::kCPU), IsOk()); }

TEST(GpuSelfTestTest, ASmallDifferenceIsRounding) {
  const DeviceTest test = {"a sum", [](at::Device device) {
                             return at::full({4}, device == kOther ? 1.01 : 1.0, at::kFloat);
                           }};
  EXPECT_THAT(RunDeviceTest(test, kOther), IsOk());
}

TEST(GpuSelfTestTest, ALargeDifferenceIsRefusedByName) {
  const DeviceTest test = {"a sum", [](at::Device device) {
                             return at::full({4}, device == kOther ? 1.1 : 1.0, at::kFloat);
                           }};
  const absl::Status status = RunDeviceTest(test, kOther);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("a sum differs"));
}

TEST(GpuSelfTestTest, AResultThatIsNotANumberIsRefused) {
  const DeviceTest test = {"a sum", [](at::Device device) {
                             return at::full({4}, device == kOther ? NAN : 1.0, at::kFloat);
                           }};
  EXPECT_THAT(RunDeviceTest(test, kOther), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(GpuSelfTestTest, AnOperationThatFailsIsRefused) {
  const DeviceTest test = {"a sum", [](at::Device device) {
                             TORCH_CHECK(device != kOther, "no kernel image");
                             return at::full({4}, 1.0, at::kFloat);
                           }};
  EXPECT_THAT(RunDeviceTest(test, kOther), HasCode(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace fedtune
