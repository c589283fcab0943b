// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/device_comparison.h"

#include <cmath>
#include <string>

#include "ATen/ops/full.h"
#include "absl/status/statusor.h"
#include "c10/util/Exception.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

// A stand-in for a device that computes something else: LibTorch's own device
// without data.
const at::Device kOther(at::kMeta);

// A sum that is 1 on the CPU; tests run on the CPU whatever they are told.
DeviceTest Sum(float elsewhere, double tolerance) {
  return {"a sum",
          [elsewhere](at::Device device) -> std::vector<at::Tensor> {
            return {at::full({4}, device == kOther ? elsewhere : 1.0F, at::kFloat)};
          },
          tolerance};
}

TEST(DeviceComparisonTest, ASmallDifferenceIsRounding) {
  EXPECT_THAT(RunDeviceTest(Sum(1.01F, 0.02), kOther), IsOk());
}

TEST(DeviceComparisonTest, ALargeDifferenceIsRefusedByName) {
  const absl::Status status = RunDeviceTest(Sum(1.1F, 0.02), kOther);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("a sum differs"));
}

TEST(DeviceComparisonTest, WithoutToleranceEveryBitCounts) {
  EXPECT_THAT(RunDeviceTest(Sum(1.0F, 0), kOther), IsOk());
  EXPECT_THAT(RunDeviceTest(Sum(std::nextafter(1.0F, 2.0F), 0), kOther),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(DeviceComparisonTest, AResultThatIsNotANumberIsRefused) {
  EXPECT_THAT(RunDeviceTest(Sum(NAN, 0.02), kOther),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(DeviceComparisonTest, OneWrongValueAmongManyIsRefused) {
  const DeviceTest test = {"a sum",
                           [](at::Device device) -> std::vector<at::Tensor> {
                             at::Tensor many = TestNumbers({10'000}, 1, at::kCPU);
                             if (device == kOther) many[5'000].add_(0.1);
                             return {many};
                           },
                           0.03};
  EXPECT_THAT(RunDeviceTest(test, kOther), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(DeviceComparisonTest, AResultOfAnotherShapeIsRefused) {
  const DeviceTest test = {"a sum", [](at::Device device) -> std::vector<at::Tensor> {
                             return {at::full({device == kOther ? 1 : 4}, 1.0, at::kFloat)};
                           }};
  EXPECT_THAT(RunDeviceTest(test, kOther), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST(DeviceComparisonTest, AnOperationThatFailsIsRefused) {
  const DeviceTest test = {"a sum", [](at::Device device) -> std::vector<at::Tensor> {
                             TORCH_CHECK(device != kOther, "no kernel image");
                             return {at::full({4}, 1.0, at::kFloat)};
                           }};
  EXPECT_THAT(RunDeviceTest(test, kOther), HasCode(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace fedtune
