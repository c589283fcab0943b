// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "privacy/secure_aggregation/mask_kernels.h"

namespace fedtune {

// For machines without AES instructions that we know of.
extern const MaskKernelFunctions kOpensslMaskKernel;

}  // namespace fedtune
