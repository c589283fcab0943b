// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "aggregation/adapter_layout.h"

namespace fedtune {

// The adapter that a run starts from: B = 0, so the adapted model equals the
// base model; A uniform in (-1/sqrt(in), 1/sqrt(in)), as PEFT draws it.
//
// The same bytes on every machine: with mix() the finaliser of SplitMix64
// (Steele et al., 2014) and G = 0x9e3779b97f4a7c15,
//   key(module)  = mix(mix(seed + G) + G * (module + 1))
//   bits(i)      = mix(key + G * (i + 1)) >> 40              (24 bits)
//   A[i]         = fp32(1/sqrt(in)) * fp32((2 bits(i) + 1) / 2^24 - 1)
// for the i-th value of the module's A, row-major.
std::vector<float> InitialAdapter(const AdapterLayout& layout, uint64_t seed);

}  // namespace fedtune
