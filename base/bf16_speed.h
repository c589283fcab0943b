// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// How many products the instructions for bf16 do, in registers, in the time in which those
// for fp32 do one. CPUs differ: on some an instruction for bf16, of two products, takes as
// long as one for fp32, on others four times as long, and then weights in bf16 are better
// widened. Takes less than a millisecond. Requires AVX-512 BF16.
double Bf16OverFp32();

}  // namespace fedtune
