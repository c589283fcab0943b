// SPDX-License-Identifier: Apache-2.0

#include "aggregation/quantize_kernels.h"

namespace fedtune {
namespace {

constexpr float kRandomValues = 65'536;

// Comparisons instead of std::floor() and std::clamp(): the compiler makes
// vector code of them on every instruction set.
[[gnu::always_inline]] inline uint32_t QuantizeOne(const RoundingRule& rule, float value,
                                                   uint32_t random) {
  value = value > rule.clip ? rule.clip : value;
  value = value < -rule.clip ? -rule.clip : value;
  const float steps = value * rule.factor;
  const auto towards_zero = static_cast<int32_t>(steps);
  const int32_t below = towards_zero - (static_cast<float>(towards_zero) > steps ? 1 : 0);
  const float rest = steps - static_cast<float>(below);  // Exact.
  const float drawn = static_cast<float>(static_cast<int32_t>(random)) + 0.5f;
  int32_t integer = below + (rest * kRandomValues > drawn ? 1 : 0);
  integer = integer > rule.largest ? rule.largest : integer;
  integer = integer < -rule.largest ? -rule.largest : integer;
  return static_cast<uint32_t>(integer) & rule.ring_mask;
}

[[gnu::always_inline]] inline void QuantizeGroups(const RoundingRule& rule_in_memory,
                                                  std::span<const float> values,
                                                  const uint32_t* __restrict random,
                                                  uint32_t* __restrict integers) {
  const RoundingRule rule = rule_in_memory;
  const float* __restrict value = values.data();
  for (size_t group = 0; group < values.size(); group += kQuantizeGroup) {
    for (size_t i = 0; i < kWordsPerGroup; ++i) {
      integers[i] = QuantizeOne(rule, value[i], random[i] & 0xffff);
    }
    for (size_t i = 0; i < kWordsPerGroup; ++i) {
      integers[kWordsPerGroup + i] = QuantizeOne(rule, value[kWordsPerGroup + i], random[i] >> 16);
    }
    value += kQuantizeGroup;
    integers += kQuantizeGroup;
    random += kWordsPerGroup;
  }
}

void QuantizePortable(const RoundingRule& rule, std::span<const float> values,
                      const uint32_t* random, uint32_t* integers) {
  QuantizeGroups(rule, values, random, integers);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void QuantizeAvx2(const RoundingRule& rule, std::span<const float> values,
                                          const uint32_t* random, uint32_t* integers) {
  QuantizeGroups(rule, values, random, integers);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void QuantizeAvx512(
    const RoundingRule& rule, std::span<const float> values, const uint32_t* random,
    uint32_t* integers) {
  QuantizeGroups(rule, values, random, integers);
}
#endif

}  // namespace

std::vector<NamedQuantizeKernel> QuantizeKernels() {
  std::vector<NamedQuantizeKernel> kernels = {{"portable", QuantizePortable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) kernels.push_back({"avx2", QuantizeAvx2});
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    kernels.push_back({"avx512", QuantizeAvx512});
  }
#endif
  return kernels;
}

}  // namespace fedtune
