// SPDX-License-Identifier: Apache-2.0

// Compiled without contraction of a * b + c into one rounding, so that the same
// bytes come out on every processor.

#include "aggregation/weighted_sum_kernels.h"

#include <bit>

#include "aggregation/weighted_sum.h"

namespace fedtune {
namespace {

constexpr double kStepsPerUnit = static_cast<double>(int64_t{1} << WeightedSum::kFractionBits);

// Adding 1.5 * 2^52 leaves a double's integer part in its lowest bits, rounded
// to nearest; two instructions where a conversion would take a call. Right for
// magnitudes below 2^51, and values below 2^14 have less than 2^50 steps.
constexpr double kRounder = 0x1.8p52;

[[gnu::always_inline]] inline int64_t Steps(float value) {
  const double shifted = static_cast<double>(value) * kStepsPerUnit + kRounder;
  return std::bit_cast<int64_t>(shifted) - std::bit_cast<int64_t>(kRounder);
}

[[gnu::always_inline]] inline void AddAll(std::span<const float> values, int64_t weight,
                                          int64_t* __restrict sums) {
  const float* __restrict value = values.data();
  const size_t size = values.size();
  for (size_t i = 0; i < size; ++i) sums[i] += Steps(value[i]) * weight;
}

[[gnu::always_inline]] inline void MeanOfAll(const int64_t* __restrict sums, int64_t total_weight,
                                             std::span<float> means) {
  float* __restrict mean = means.data();
  const size_t size = means.size();
  const double divisor = static_cast<double>(total_weight);
  for (size_t i = 0; i < size; ++i) {
    mean[i] = static_cast<float>(static_cast<double>(sums[i]) / divisor / kStepsPerUnit);
  }
}

void AddPortable(std::span<const float> values, int64_t weight, int64_t* sums) {
  AddAll(values, weight, sums);
}

void MeanPortable(const int64_t* sums, int64_t total_weight, std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void AddAvx2(std::span<const float> values, int64_t weight, int64_t* sums) {
  AddAll(values, weight, sums);
}

[[gnu::target("avx2")]] void MeanAvx2(const int64_t* sums, int64_t total_weight,
                                      std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void AddAvx512(std::span<const float> values,
                                                                     int64_t weight,
                                                                     int64_t* sums) {
  AddAll(values, weight, sums);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void MeanAvx512(const int64_t* sums,
                                                                      int64_t total_weight,
                                                                      std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}
#endif

}  // namespace

int64_t ToSteps(float value) { return Steps(value); }

std::vector<NamedSumKernels> SumKernels() {
  std::vector<NamedSumKernels> kernels = {{"portable", AddPortable, MeanPortable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) kernels.push_back({"avx2", AddAvx2, MeanAvx2});
  if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    kernels.push_back({"avx512", AddAvx512, MeanAvx512});
  }
#endif
  return kernels;
}

}  // namespace fedtune
