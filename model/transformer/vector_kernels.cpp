// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/vector_kernels.h"

#include <algorithm>
#include <cmath>

#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/vector_exp.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] float LargestOf(const float* values,
                                                                      int64_t size) {
  __m512 largest = _mm512_set1_ps(values[0]);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    largest = _mm512_mask_max_ps(largest, mask, largest, _mm512_maskz_loadu_ps(mask, values + i));
  }
  return _mm512_reduce_max_ps(largest);
}

// What the forward pass has left in memory is asked for ahead: the processor does so itself,
// but not beyond the end of a page.
template <typename Value>
inline void ReadAhead(const Value* values) {
  constexpr int64_t kBytesAhead = 1024;
  _mm_prefetch(reinterpret_cast<const char*>(values) + kBytesAhead, _MM_HINT_T0);
}

}  // namespace

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] float RmsNormRow(const float* x,
                                                                       const float* weight,
                                                                       double epsilon, int64_t size,
                                                                       float* y) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < size; i += kVector) {
    const __m512 values = _mm512_maskz_loadu_ps(MaskOf(i, size), x + i);
    sum = _mm512_fmadd_ps(values, values, sum);
  }
  const double mean = static_cast<double>(_mm512_reduce_add_ps(sum)) / static_cast<double>(size);
  const auto inverse = static_cast<float>(1 / std::sqrt(mean + epsilon));
  const __m512 factor = _mm512_set1_ps(inverse);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 normed = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), factor);
    _mm512_mask_storeu_ps(y + i, mask,
                          _mm512_mul_ps(normed, _mm512_maskz_loadu_ps(mask, weight + i)));
  }
  return inverse;
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void RmsNormRowBackward(
    const float* y_gradient, const float* x, const float* weight, float inverse_rms, int64_t size,
    const float* added, float* x_gradient) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < size; i += kVector) {
    ReadAhead(x + i), ReadAhead(y_gradient + i);
    if (added != nullptr) ReadAhead(added + i);
    const __mmask16 mask = MaskOf(i, size);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, y_gradient + i),
                                        _mm512_maskz_loadu_ps(mask, weight + i));
    sum = _mm512_fmadd_ps(scaled, _mm512_maskz_loadu_ps(mask, x + i), sum);
  }
  const float along = _mm512_reduce_add_ps(sum) / static_cast<float>(size);
  const __m512 factor = _mm512_set1_ps(inverse_rms);
  const __m512 back = _mm512_set1_ps(-along * inverse_rms * inverse_rms * inverse_rms);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, y_gradient + i),
                                        _mm512_maskz_loadu_ps(mask, weight + i));
    const __m512 kept = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), back);
    __m512 gradient = _mm512_fmadd_ps(scaled, factor, kept);
    if (added != nullptr) {
      gradient = _mm512_add_ps(gradient, _mm512_maskz_loadu_ps(mask, added + i));
    }
    _mm512_mask_storeu_ps(x_gradient + i, mask, gradient);
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void AddRows(const float* x, const float* y,
                                                                   int64_t size, float* sum) {
  for (int64_t i = 0; i < size; i += kVector) {
    ReadAhead(x + i), ReadAhead(y + i);
    const __mmask16 mask = MaskOf(i, size);
    _mm512_mask_storeu_ps(
        sum + i, mask,
        _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, y + i)));
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void SoftmaxRow(float* scores, int64_t seen,
                                                                      int64_t size, float scale) {
  const float most = LargestOf(scores, seen);
  const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(-scale * most);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < seen; i += kVector) {
    const __mmask16 mask = MaskOf(i, seen);
    const __m512 values = _mm512_maskz_loadu_ps(mask, scores + i);
    const __m512 power = Exp(_mm512_fmadd_ps(values, factor, shift));
    sum = _mm512_mask_add_ps(sum, mask, sum, power);
    _mm512_mask_storeu_ps(scores + i, mask, power);
  }
  Scale(1 / _mm512_reduce_add_ps(sum), seen, scores);
  std::fill(scores + seen, scores + size, 0.0F);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void SoftmaxRowBackward(const float* shares,
                                                                              int64_t size,
                                                                              float scale,
                                                                              float* gradients) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, shares + i),
                          _mm512_maskz_loadu_ps(mask, gradients + i), sum);
  }
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum)), factor = _mm512_set1_ps(scale);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 share = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, shares + i), factor);
    const __m512 change = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, gradients + i), mean);
    _mm512_mask_storeu_ps(gradients + i, mask, _mm512_mul_ps(share, change));
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] double LossRow(float* logits, int64_t size,
                                                                     int64_t target) {
  const float most = LargestOf(logits, size);
  const double target_logit = static_cast<double>(logits[target]) - static_cast<double>(most);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 values = _mm512_maskz_loadu_ps(mask, logits + i);
    const __m512 power = Exp(_mm512_sub_ps(values, _mm512_set1_ps(most)));
    sum = _mm512_mask_add_ps(sum, mask, sum, power);
    _mm512_mask_storeu_ps(logits + i, mask, power);
  }
  const float total = _mm512_reduce_add_ps(sum);
  Scale(1 / total, size, logits);
  logits[target] -= 1;
  return std::log(static_cast<double>(total)) - target_logit;
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] double SumOfSquares(const float* values,
                                                                          int64_t size) {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
  for (int64_t i = 0; i < size; i += kVector) {
    const __m512 some = _mm512_maskz_loadu_ps(MaskOf(i, size), values + i);
    const __m512d first = _mm512_cvtps_pd(_mm512_castps512_ps256(some));
    const __m512d second = _mm512_cvtps_pd(_mm512_extractf32x8_ps(some, 1));
    low = _mm512_fmadd_pd(first, first, low);
    high = _mm512_fmadd_pd(second, second, high);
  }
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void StepAdamW(const AdamWFactors& factors,
                                                                     const AdamWValues& at,
                                                                     int64_t size) {
  const __m512 by_gradient = _mm512_set1_ps(factors.gradient);
  const __m512 kept = _mm512_set1_ps(factors.kept), step = _mm512_set1_ps(factors.step);
  const __m512 to_first = _mm512_set1_ps(factors.first);
  const __m512 to_second = _mm512_set1_ps(factors.second);
  const __m512 root = _mm512_set1_ps(factors.inverse_root);
  const __m512 epsilon = _mm512_set1_ps(factors.epsilon);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 g = _mm512_mul_ps(by_gradient, _mm512_maskz_loadu_ps(mask, at.gradients + i));
    __m512 first = _mm512_maskz_loadu_ps(mask, at.first + i);
    __m512 second = _mm512_maskz_loadu_ps(mask, at.second + i);
    first = _mm512_fmadd_ps(to_first, _mm512_sub_ps(g, first), first);
    second = _mm512_fmadd_ps(to_second, _mm512_fmsub_ps(g, g, second), second);
    const __m512 divisor = _mm512_fmadd_ps(_mm512_sqrt_ps(second), root, epsilon);
    const __m512 value = _mm512_mul_ps(kept, _mm512_maskz_loadu_ps(mask, at.values + i));
    const __m512 moved = _mm512_fmadd_ps(step, _mm512_div_ps(first, divisor), value);
    _mm512_mask_storeu_ps(at.values + i, mask, moved);
    _mm512_mask_storeu_ps(at.first + i, mask, first);
    _mm512_mask_storeu_ps(at.second + i, mask, second);
    _mm512_mask_storeu_ps(at.gradients + i, mask, _mm512_setzero_ps());
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void Scale(float factor, int64_t size,
                                                                 float* values) {
  const __m512 by = _mm512_set1_ps(factor);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    _mm512_mask_storeu_ps(values + i, mask,
                          _mm512_mul_ps(by, _mm512_maskz_loadu_ps(mask, values + i)));
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void AddScaled(const float* values,
                                                                     float factor, int64_t size,
                                                                     float* sum) {
  const __m512 by = _mm512_set1_ps(factor);
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    const __m512 added = _mm512_fmadd_ps(by, _mm512_maskz_loadu_ps(mask, values + i),
                                         _mm512_maskz_loadu_ps(mask, sum + i));
    _mm512_mask_storeu_ps(sum + i, mask, added);
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void SumOfRows(const ChosenRows& chosen,
                                                                     int64_t size, float* sum) {
  for (int64_t i = 0; i < size; i += kVector) {
    const __mmask16 mask = MaskOf(i, size);
    __m512 total = chosen.add ? _mm512_maskz_loadu_ps(mask, sum + i) : _mm512_setzero_ps();
    for (int64_t j = 0; j < chosen.count; ++j) {
      const __m512 weight = _mm512_set1_ps(chosen.weights != nullptr ? chosen.weights[j] : 1);
      const float* row = chosen.values + chosen.rows[j] * size;
      if (chosen.next != nullptr) {
        _mm_prefetch(chosen.values + chosen.next[j] * size + i, _MM_HINT_T0);
      }
      total = _mm512_fmadd_ps(weight, _mm512_maskz_loadu_ps(mask, row + i), total);
    }
    _mm512_mask_storeu_ps(sum + i, mask, total);
  }
}

#else

float RmsNormRow(const float*, const float*, double, int64_t, float*) {
  Check(false, "a CPU without kernels");
  return 0;
}

void RmsNormRowBackward(const float*, const float*, const float*, float, int64_t, const float*,
                        float*) {
  Check(false, "a CPU without kernels");
}

void AddRows(const float*, const float*, int64_t, float*) { Check(false, "a CPU without kernels"); }

void SoftmaxRow(float*, int64_t, int64_t, float) { Check(false, "a CPU without kernels"); }

void SoftmaxRowBackward(const float*, int64_t, float, float*) {
  Check(false, "a CPU without kernels");
}

double LossRow(float*, int64_t, int64_t) {
  Check(false, "a CPU without kernels");
  return 0;
}

double SumOfSquares(const float*, int64_t) {
  Check(false, "a CPU without kernels");
  return 0;
}

void StepAdamW(const AdamWFactors&, const AdamWValues&, int64_t) {
  Check(false, "a CPU without kernels");
}

void Scale(float, int64_t, float*) { Check(false, "a CPU without kernels"); }

void AddScaled(const float*, float, int64_t, float*) { Check(false, "a CPU without kernels"); }

void SumOfRows(const ChosenRows&, int64_t, float*) { Check(false, "a CPU without kernels"); }

#endif

}  // namespace fedtune
