// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/dropout.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/bitwise_right_shift.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/stack.h"
#include "base/splitmix64.h"

namespace fedtune {
namespace {

constexpr int64_t kValuesAThread = 1 << 15;

// On a device, whose random numbers take 8 bytes each.
constexpr int64_t kValuesTogether = 1 << 23;

// Two values from each random number, of 32 bits: those below it are dropped.
uint32_t Threshold(const Dropout& dropout) {
  return static_cast<uint32_t>(std::min(dropout.rate * 0x1p32, 0x1p32 - 1));
}

float Kept(const Dropout& dropout) { return static_cast<float>(1 / (1 - dropout.rate)); }

at::Tensor MaskOnCpu(const at::Tensor& x, const Dropout& dropout) {
  const uint32_t threshold = Threshold(dropout);
  const float kept = Kept(dropout);
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
  return mask.to(x.scalar_type());
}

// x ^ (x >> bits) of numbers without sign, whose shifts bring zeros.
void XorShift(const at::Tensor& x, int64_t bits) {
  x.bitwise_xor_(at::bitwise_right_shift(x, bits).bitwise_and_((int64_t{1} << (64 - bits)) - 1));
}

// The random numbers from `first` on: SubKey(), on a device. Integers there have a
// sign, which sums and products modulo 2^64 do not see.
at::Tensor RandomNumbers(uint64_t key, int64_t first, int64_t count, at::Device device) {
  at::Tensor x =
      at::arange(first + 1, first + 1 + count, at::TensorOptions(at::kLong).device(device));
  x.mul_(static_cast<int64_t>(kSplitMixGamma)).add_(static_cast<int64_t>(key));
  XorShift(x, 30);
  x.mul_(static_cast<int64_t>(kSplitMixFirstFactor));
  XorShift(x, 27);
  x.mul_(static_cast<int64_t>(kSplitMixSecondFactor));
  XorShift(x, 31);
  return x;
}

// Whether each of `count` values from the place `first` on is kept.
at::Tensor AreKept(const Dropout& dropout, int64_t first, int64_t count, at::Device device) {
  const int64_t number = first / 2, skipped = first % 2;
  const at::Tensor random = RandomNumbers(dropout.key, number, (skipped + count + 1) / 2, device);
  constexpr int64_t kLow = 0xffffffff;
  const at::Tensor bits =
      at::stack({random & kLow, at::bitwise_right_shift(random, 32).bitwise_and_(kLow)}, 1);
  return bits.view(-1).narrow(0, skipped, count) >= static_cast<int64_t>(Threshold(dropout));
}

at::Tensor MaskOnDevice(const at::Tensor& x, const Dropout& dropout) {
  at::Tensor mask = at::empty(x.sizes(), x.options());
  const at::Tensor values = mask.view(-1);
  const int64_t first = dropout.first_row * x.size(1);
  for (int64_t begin = 0; begin < mask.numel(); begin += kValuesTogether) {
    const int64_t count = std::min(kValuesTogether, mask.numel() - begin);
    values.narrow(0, begin, count).copy_(AreKept(dropout, first + begin, count, x.device()));
  }
  return mask.mul_(Kept(dropout));
}

}  // namespace

uint64_t SubKey(uint64_t key, uint64_t index) {
  return SplitMix(key + kSplitMixGamma * (index + 1));
}

at::Tensor DropoutMask(const at::Tensor& x, const Dropout& dropout) {
  const at::NoGradGuard no_grad;
  return x.is_cpu() ? MaskOnCpu(x, dropout) : MaskOnDevice(x, dropout);
}

}  // namespace fedtune
