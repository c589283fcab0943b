// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/dropout.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"

namespace fedtune {
namespace {

constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;
constexpr int64_t kValuesAThread = 1 << 15;

// The finaliser of SplitMix64 (Steele et al., 2014).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t SubKey(uint64_t key, uint64_t index) { return Mix(key + kGamma * (index + 1)); }

at::Tensor DropoutMask(const at::Tensor& x, const Dropout& dropout) {
  // Two values from each random number, of 32 bits.
  const auto threshold = static_cast<uint32_t>(std::min(dropout.rate * 0x1p32, 0x1p32 - 1));
  const auto kept = static_cast<float>(1 / (1 - dropout.rate));
  const int64_t first = dropout.first_row * x.size(1);
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);
  float* values = mask.mutable_data_ptr<float>();
  at::parallel_for(0, mask.numel(), kValuesAThread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto place = static_cast<uint64_t>(first + i);
      const uint64_t random = SubKey(dropout.key, place / 2);
      const auto bits = static_cast<uint32_t>(place % 2 == 0 ? random : random >> 32);
      values[i] = bits < threshold ? 0 : kept;
    }
  });
  return mask.to(x.device(), x.scalar_type());
}

}  // namespace fedtune
