// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "client/training/compute_device.h"

namespace fedtune {

// ChooseDeviceAmong() this machine's GPUs; there are none for a program that was
// not built for them. The self-test compares each operation that training and
// evaluation use with the CPU's. It takes seconds: choose once, at start-up.
// InvalidArgument, too, where CheckCpuVariable() is.
absl::StatusOr<ComputeDevice> ChooseDevice(std::string_view name);

}  // namespace fedtune
