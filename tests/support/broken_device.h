// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <set>
#include <span>
#include <string>

#include "gmock/gmock.h"
#include "model/transformer/device_comparison.h"
#include "model/transformer/fake_device.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {

// Expects that a device which does as the CPU passes `tests`, and that one which
// does a single of their operations wrongly is refused, whichever it is. The
// operations that the tests use.
inline std::set<std::string> ExpectEachOperationToMatter(std::span<const DeviceTest> tests) {
  FakeDevice::TakeOperations();
  EXPECT_THAT(RunDeviceTests(tests, FakeDevice::device()), IsOk());
  const std::set<std::string> operations = FakeDevice::TakeOperations();
  for (const std::string& operation : operations) {
    FakeDevice::Break(operation);
    EXPECT_THAT(RunDeviceTests(tests, FakeDevice::device()),
                HasCode(absl::StatusCode::kFailedPrecondition))
        << operation;
  }
  FakeDevice::Break("");
  return operations;
}

}  // namespace fedtune::testing
