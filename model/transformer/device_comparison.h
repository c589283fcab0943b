// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"

namespace fedtune {

// One thing that a GPU is used for, as a function of the device that it runs on.
// The same inputs on each; no input or result is larger than it has to be.
struct DeviceTest {
  std::string_view name;  // "a norm"
  std::function<std::vector<at::Tensor>(at::Device device)> run;

  // How far a value may be off, as a share of its tensor's largest.
  double tolerance = 0;
};

// Runs the test on `device` and on the CPU.
//
// FAILED_PRECONDITION: it fails on the device, or a value differs from the CPU's
// by more than the tolerance; says what.
absl::Status RunDeviceTest(const DeviceTest& test, at::Device device);

// The first error of any of the tests.
absl::Status RunDeviceTests(std::span<const DeviceTest> tests, at::Device device);

// Numbers between -1 and 1 that look random and are the same everywhere.
at::Tensor TestNumbers(at::IntArrayRef shape, double seed, at::Device device,
                       at::ScalarType type = at::kBFloat16);

}  // namespace fedtune
