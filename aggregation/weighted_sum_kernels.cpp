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

constexpr auto kRounderBits = std::bit_cast<uint64_t>(kRounder);

// The steps of a value, and the rounder's bits besides.
[[gnu::always_inline]] inline uint64_t ShiftedSteps(float value) {
  return std::bit_cast<uint64_t>(static_cast<double>(value) * kStepsPerUnit + kRounder);
}

constexpr size_t kLine = 64 / sizeof(float);  // Values in a line of the cache.
constexpr size_t kAhead = 16 * kLine;         // Where memory is asked for what comes.

// Adds `count` values of N contributions. Sums are modulo 2^64 on the way: what the
// rounder's bits have added is taken off again by `excess`.
template <size_t N, size_t count>
[[gnu::always_inline]] inline void AddLine(const WeightedValues* sources, size_t first,
                                           uint64_t excess, int64_t* __restrict sums) {
  uint64_t sum[count];
  for (size_t i = 0; i < count; ++i) sum[i] = static_cast<uint64_t>(sums[first + i]) - excess;
  for (size_t k = 0; k < N; ++k) {
    const float* __restrict value = sources[k].values + first;
    const auto weight = static_cast<uint64_t>(sources[k].weight);
    for (size_t i = 0; i < count; ++i) sum[i] += ShiftedSteps(value[i]) * weight;
  }
  for (size_t i = 0; i < count; ++i) sums[first + i] = static_cast<int64_t>(sum[i]);
}

// Several contributions in one pass: the sums stay in registers meanwhile.
template <size_t N>
[[gnu::always_inline]] inline void AddTogether(const WeightedValues* sources,
                                               std::span<int64_t> sums) {
  uint64_t excess = 0;
  for (size_t k = 0; k < N; ++k) excess += kRounderBits * static_cast<uint64_t>(sources[k].weight);
  size_t i = 0;
  for (; i + kLine <= sums.size(); i += kLine) {
    for (size_t k = 0; k < N; ++k) __builtin_prefetch(sources[k].values + i + kAhead);
    AddLine<N, kLine>(sources, i, excess, sums.data());
  }
  for (; i < sums.size(); ++i) AddLine<N, 1>(sources, i, excess, sums.data());
}

[[gnu::always_inline]] inline void AddAll(std::span<const WeightedValues> sources,
                                          std::span<int64_t> sums) {
  const WeightedValues* source = sources.data();
  size_t left = sources.size();
  for (; left >= 5; left -= 5, source += 5) AddTogether<5>(source, sums);
  for (; left >= 2; left -= 2, source += 2) AddTogether<2>(source, sums);
  if (left > 0) AddTogether<1>(source, sums);
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

void AddPortable(std::span<const WeightedValues> sources, std::span<int64_t> sums) {
  AddAll(sources, sums);
}

void MeanPortable(const int64_t* sums, int64_t total_weight, std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void AddAvx2(std::span<const WeightedValues> sources,
                                     std::span<int64_t> sums) {
  AddAll(sources, sums);
}

[[gnu::target("avx2")]] void MeanAvx2(const int64_t* sums, int64_t total_weight,
                                      std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void AddAvx512(
    std::span<const WeightedValues> sources, std::span<int64_t> sums) {
  AddAll(sources, sums);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void MeanAvx512(const int64_t* sums,
                                                                      int64_t total_weight,
                                                                      std::span<float> mean) {
  MeanOfAll(sums, total_weight, mean);
}
#endif

}  // namespace

int64_t ToSteps(float value) { return static_cast<int64_t>(ShiftedSteps(value) - kRounderBits); }

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
