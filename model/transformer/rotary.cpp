// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ATen/TensorOperators.h"
#include "ATen/ops/full_like.h"
#include "ATen/ops/outer.h"
#include "ATen/ops/polar.h"
#include "ATen/ops/view_as_complex.h"
#include "ATen/ops/view_as_real.h"
#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/parallel.h"

namespace fedtune {
namespace {

// The pair that turns `rotations` times within the original context.
double PairThatTurns(double rotations, const RopeConfig& rope, int64_t dimension) {
  const auto context = static_cast<double>(rope.yarn->original_context_length);
  return static_cast<double>(dimension) * std::log(context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

// How far each pair is stretched, from 0 (not at all) to 1 (by the whole
// factor): fast pairs keep their frequency, slow ones are interpolated.
std::vector<double> YarnRamp(const RopeConfig& rope, int64_t dimension) {
  double low = PairThatTurns(rope.yarn->beta_fast, rope, dimension);
  double high = PairThatTurns(rope.yarn->beta_slow, rope, dimension);
  if (rope.yarn->truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dimension - 1));
  if (high == low) high += 0.001;
  std::vector<double> ramp(static_cast<size_t>(dimension / 2));
  for (size_t i = 0; i < ramp.size(); ++i) {
    ramp[i] = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  }
  return ramp;
}

// The same in Llama 3.1's way, for a pair of this frequency in radians a position.
double Llama3Ramp(const Llama3Scaling& scaling, double frequency) {
  const double low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
  const double turns =
      static_cast<double>(scaling.original_context_length) * frequency / (2 * std::numbers::pi);
  return std::clamp((high - turns) / (high - low), 0.0, 1.0);
}

// A frequency of which the part `ramp` is divided by the factor.
double Stretched(double frequency, double ramp, double factor) {
  return frequency / factor * ramp + frequency * (1 - ramp);
}

}  // namespace

std::vector<float> RotaryFrequencies(const RopeConfig& rope, int64_t dimension) {
  std::vector<float> frequencies(static_cast<size_t>(dimension / 2));
  const std::vector<double> yarn = rope.yarn ? YarnRamp(rope, dimension) : std::vector<double>();
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2 * static_cast<double>(i) / static_cast<double>(dimension);
    double frequency = std::pow(rope.theta, -exponent) / rope.linear_factor;
    if (rope.longrope) frequency /= rope.longrope->short_factors[i];
    if (rope.yarn) frequency = Stretched(frequency, yarn[i], rope.yarn->factor);
    if (rope.llama3) {
      frequency = Stretched(frequency, Llama3Ramp(*rope.llama3, frequency), rope.llama3->factor);
    }
    frequencies[i] = static_cast<float>(frequency);
  }
  return frequencies;
}

at::Tensor Rotations(const at::Tensor& positions, const at::Tensor& frequencies, double factor) {
  const at::Tensor angles = at::outer(positions.to(at::kFloat), frequencies);
  return at::polar(at::full_like(angles, factor), angles);
}

namespace {

#if defined(__x86_64__)

// Pairs that lie one behind the other, on CPUs of HasMatrixKernels().
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void RotateNeighbours(
    const HeadToRotate& head, const c10::complex<float>* turns, int64_t half) {
  constexpr int64_t kPairs = 8;
  for (int64_t row = 0; row < head.rows; ++row, turns += half) {
    float* values = head.values + row * head.stride;
    for (int64_t i = 0; i < half; i += kPairs) {
      const auto some = static_cast<unsigned>(2 * std::min(kPairs, half - i));
      const auto mask = static_cast<__mmask16>((1U << some) - 1);
      const __m512 turn = _mm512_maskz_loadu_ps(mask, turns + i);
      const __m512 pairs = _mm512_maskz_loadu_ps(mask, values + 2 * i);
      const __m512 swapped = _mm512_permute_ps(pairs, 0xb1);
      const __m512 by_imaginary = _mm512_mul_ps(swapped, _mm512_movehdup_ps(turn));
      const __m512 turned = _mm512_fmaddsub_ps(pairs, _mm512_moveldup_ps(turn), by_imaginary);
      _mm512_mask_storeu_ps(values + 2 * i, mask, turned);
    }
  }
}

#else

void RotateNeighbours(const HeadToRotate&, const c10::complex<float>*, int64_t) {
  Check(false, "a CPU without kernels");
}

#endif

}  // namespace

void RotateHead(const HeadToRotate& head, const c10::complex<float>* turns, int64_t half,
                RotaryPairs pairs) {
  if (pairs == RotaryPairs::kNeighbours && HasMatrixKernels()) {
    return RotateNeighbours(head, turns, half);
  }
  const bool halves = pairs == RotaryPairs::kHalves;
  const int64_t step = halves ? 1 : 2, partner = halves ? half : 1;
  for (int64_t row = 0; row < head.rows; ++row, turns += half) {
    float* values = head.values + row * head.stride;
    for (int64_t i = 0; i < half; ++i) {
      float &a = values[i * step], &b = values[i * step + partner];
      const c10::complex<float> turned = c10::complex<float>(a, b) * turns[i];
      a = turned.real();
      b = turned.imag();
    }
  }
}

namespace {

// Where x lies in memory that this program sees, as fp32.
void RotateOnCpu(const at::Tensor& x, const at::Tensor& rotations, RotaryPairs pairs) {
  constexpr int64_t kRowsTogether = 64;
  const int64_t half = x.size(2) / 2;
  const at::Tensor rows = rotations.resolve_conj().contiguous();
  const auto* turns = rows.const_data_ptr<c10::complex<float>>();
  auto* values = x.mutable_data_ptr<float>();
  InParallel((x.size(0) + kRowsTogether - 1) / kRowsTogether, [&](int64_t task) {
    const int64_t begin = task * kRowsTogether, count = std::min(kRowsTogether, x.size(0) - begin);
    for (int64_t head = 0; head < x.size(1); ++head) {
      float* first = values + begin * x.stride(0) + head * x.stride(1);
      RotateHead({first, x.stride(0), count}, turns + begin * half, half, pairs);
    }
  });
}

}  // namespace

void RotateInPlace(at::Tensor x, const at::Tensor& rotations, RotaryPairs pairs) {
  if (x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(2) == 1) {
    RotateOnCpu(x, rotations, pairs);
    return;
  }
  const int64_t half = x.size(2) / 2;
  const bool halves = pairs == RotaryPairs::kHalves;
  const auto in_pairs = [&](const at::Tensor& values) {
    if (!halves) return values.reshape({x.size(0), x.size(1), half, 2}).contiguous();
    return values.reshape({x.size(0), x.size(1), 2, half}).transpose(2, 3).contiguous();
  };
  const at::Tensor numbers = at::view_as_complex(in_pairs(x.to(at::kFloat)));
  const at::Tensor turned = at::view_as_real(numbers * rotations.unsqueeze(1));
  x.copy_((halves ? turned.transpose(2, 3) : turned).reshape(x.sizes()));
}

}  // namespace fedtune
