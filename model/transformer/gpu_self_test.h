// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string_view>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"

namespace fedtune {

// Runs each operation that a GPU is used for, forwards and backwards, on small
// inputs on `device` and on the CPU. To be called before a GPU is used: drivers,
// cards and LibTorch's kernels have disagreed before, without an error.
//
// FAILED_PRECONDITION: an operation fails there, or its result differs from the
// CPU's by more than the rounding of bf16 explains; says which.
absl::Status TestGpu(at::Device device);

// One operation: a function of the device that it runs on.
struct DeviceTest {
  std::string_view name;
  std::function<at::Tensor(at::Device device)> run;
};

// TestGpu() for one operation.
absl::Status RunDeviceTest(const DeviceTest& test, at::Device device);

}  // namespace fedtune
