// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fedtune {

// Adds `weight` times each value, in steps of 2^-36 rounded to nearest, ties to
// even, to the sum beside it. All kernels give the same integers. Requires: as many
// sums as values, and values below 2^14 in magnitude.
using AddKernel = void (*)(std::span<const float> values, int64_t weight, int64_t* sums);

// sums[i] / total_weight / 2^36 in fp64, rounded to fp32. Requires: as many sums.
using MeanKernel = void (*)(const int64_t* sums, int64_t total_weight, std::span<float> mean);

struct NamedSumKernels {
  std::string_view name;
  AddKernel add;
  MeanKernel mean;
};

// Those that this processor can run, the fastest ones last.
std::vector<NamedSumKernels> SumKernels();

// One value in steps, as the kernels count them.
int64_t ToSteps(float value);

}  // namespace fedtune
