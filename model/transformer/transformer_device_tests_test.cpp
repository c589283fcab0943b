// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/transformer_device_tests.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "model/transformer/fake_device.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::FakeDevice;
using testing::HasCode;
using testing::IsOk;

TEST(TransformerDeviceTestsTest, ADeviceThatComputesAsTheCpuPasses) {
  for (const DeviceTest& test : TransformerDeviceTests()) {
    EXPECT_THAT(RunDeviceTest(test, FakeDevice::device()), IsOk());
  }
}

TEST(TransformerDeviceTestsTest, ADeviceThatComputesOneOperationWronglyIsRefused) {
  const std::vector<DeviceTest> tests = TransformerDeviceTests();
  FakeDevice::TakeOperations();
  ASSERT_THAT(RunDeviceTests(tests, FakeDevice::device()), IsOk());
  const std::set<std::string> operations = FakeDevice::TakeOperations();
  EXPECT_GT(operations.size(), 40);
  for (const std::string& operation : operations) {
    FakeDevice::Break(operation);
    EXPECT_THAT(RunDeviceTests(tests, FakeDevice::device()),
                HasCode(absl::StatusCode::kFailedPrecondition))
        << operation;
  }
  FakeDevice::Break("");
}

}  // namespace
}  // namespace fedtune
