// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"

namespace fedtune {

// The device that "auto", "cpu", "cuda" or "cuda:1" stands for. "auto" is the
// first GPU if this program was built for one and there is one, else the CPU.
// A GPU is used only after its operations agreed with the CPU's.
//
// INVALID_ARGUMENT: not such a name. FAILED_PRECONDITION: there is no such
// device, or it computes something else than the CPU (says what).
absl::StatusOr<c10::Device> ChooseDevice(std::string_view name);

}  // namespace fedtune
