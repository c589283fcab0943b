// SPDX-License-Identifier: Apache-2.0

#include "aggregation/adapter_init.h"

#include <cmath>
#include <span>

#include "base/splitmix64.h"

namespace fedtune {
namespace {

// Odd multiples of 2^-24 in (-1, 1): exact in fp32, never 0, mean 0.
float Uniform(uint64_t random) {
  const auto bits = static_cast<int32_t>(random >> 40);
  return static_cast<float>(2 * bits + 1 - (1 << 24)) * 0x1p-24f;
}

void Fill(std::span<float> values, uint64_t key, float bound) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = bound * Uniform(SplitMix(key + kSplitMixGamma * (i + 1)));
  }
}

}  // namespace

std::vector<float> InitialAdapter(const AdapterLayout& layout, uint64_t seed) {
  std::vector<float> adapter(static_cast<size_t>(layout.parameter_count()));
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (tensor.factor != Factor::kA) continue;
    const uint64_t module = static_cast<uint64_t>(tensor.module_index) + 1;
    const auto bound = static_cast<float>(1 / std::sqrt(static_cast<double>(tensor.columns)));
    Fill(std::span(adapter).subspan(static_cast<size_t>(tensor.offset),
                                    static_cast<size_t>(tensor.size())),
         SplitMix(SplitMix(seed + kSplitMixGamma) + kSplitMixGamma * module), bound);
  }
  return adapter;
}

}  // namespace fedtune
