// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fedtune {

// Values of one contribution, with its weight.
struct WeightedValues {
  const float* values;
  int64_t weight;
};

// Adds to each sum, for every one of `sources`, its weight times its value in the sum's
// place, in steps of 2^-36 rounded to nearest, ties to even. All kernels give the same
// integers. Requires: as many values as sums in each, below 2^14 in magnitude.
using AddKernel = void (*)(std::span<const WeightedValues> sources, std::span<int64_t> sums);

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
