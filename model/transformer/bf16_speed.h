// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// Products a nanosecond, in registers, of the instructions for bf16 over those for fp32.
// CPUs differ: on some an instruction for bf16, which does two products, takes as long as
// one for fp32, on others four times as long, so that weights are better widened. Takes
// less than a millisecond. Requires AVX-512 BF16.
double Bf16OverFp32();

// Whether it pays to round the left factor and multiply in bf16. Measured once.
bool Bf16ProductsAreFaster();

}  // namespace fedtune
