// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/transformer_device_tests.h"

#include <cstdio>

#include "gmock/gmock.h"
#include "model/transformer/fake_device.h"
#include "tests/support/broken_device.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::ExpectEachOperationToMatter;
using testing::FakeDevice;
using testing::IsOk;

TEST(TransformerDeviceTestsTest, ADeviceThatComputesAsTheCpuPasses) {
  for (const DeviceTest& test : TransformerDeviceTests()) {
    EXPECT_THAT(RunDeviceTest(test, FakeDevice::device()), IsOk());
  }
}

TEST(TransformerDeviceTestsTest, ADeviceThatComputesOneOperationWronglyIsRefused) {
  EXPECT_GT(ExpectEachOperationToMatter(TransformerDeviceTests()).size(), 40);
}

// So that whatever passes here on the spare device would not take a GPU's memory for ours.
TEST(FakeDeviceDeathTest, WhoReadsItsMemoryByAddressCrashes) {
  const at::Tensor there = TestNumbers({4}, 1, FakeDevice::device(), at::kFloat);
  EXPECT_DEATH(std::fputs(there.const_data_ptr<float>()[0] > 0 ? "1" : "0", stderr), "");
}

}  // namespace
}  // namespace fedtune
