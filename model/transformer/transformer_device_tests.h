// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <vector>

#include "model/transformer/device_comparison.h"

namespace fedtune {

// Everything that HiddenStates(), TokenLossSum(), TokenLosses(), their
// derivatives and Adapter have a GPU compute, through the functions that they
// call. Drivers, cards and LibTorch's kernels have disagreed before, without an
// error.
std::vector<DeviceTest> TransformerDeviceTests();

}  // namespace fedtune
