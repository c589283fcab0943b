// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// Whether this CPU has the parts of AVX-512 that our kernels use: F, BW, DQ and VL.
bool HasAvx512();

}  // namespace fedtune
