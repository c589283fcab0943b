// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <vector>

#include "model/transformer/device_comparison.h"

namespace fedtune {

// Everything that a training has a GPU compute besides the transformer: the
// steps of each optimiser.
std::vector<DeviceTest> TrainingDeviceTests();

}  // namespace fedtune
