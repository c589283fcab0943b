// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "privacy/secure_aggregation/mask_kernels.h"

namespace fedtune {

// Kernels that are compiled for instructions which not every machine has. Their
// files hold no code that others could share: the linker might choose this copy
// for all.
extern const MaskKernelFunctions kAesNiMaskKernel;
extern const MaskKernelFunctions kVaes512MaskKernel;

}  // namespace fedtune
