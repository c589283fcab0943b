// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/vector_products.h"

#include <algorithm>
#include <cstddef>

#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/matrix_products.h"

namespace fedtune {
namespace {

std::optional<WeightType> WeightTypeOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return WeightType::kFp32;
    case at::kBFloat16:
      return WeightType::kBf16;
    case at::kHalf:
      return WeightType::kFp16;
    default:
      return std::nullopt;
  }
}

}  // namespace

WeightRows WeightRows::From(int64_t row) const {
  return {static_cast<const std::byte*>(data) + row * bytes_per_row(), columns, type};
}

std::optional<WeightRows> WeightRowsOf(const at::Tensor& weight) {
  const std::optional<WeightType> type = WeightTypeOf(weight.scalar_type());
  if (!HasMatrixKernels() || !weight.is_cpu() || !weight.is_contiguous() || !type) return {};
  return WeightRows{weight.const_data_ptr(), weight.size(-1), *type};
}

#if defined(__x86_64__)

namespace {

constexpr int64_t kVector = 16;

// How far ahead of what is computed memory is asked for: the processor does so
// itself, but not beyond the end of a page.
constexpr int64_t kBytesAhead = 2048;

// The values of one type, sixteen at a time.
struct Fp32 {
  using Value = float;
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  Load(const Value* values) {
    return _mm512_loadu_ps(values);
  }
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  LoadSome(__mmask16 mask, const Value* values) {
    return _mm512_maskz_loadu_ps(mask, values);
  }
};

struct Bf16 {
  using Value = uint16_t;
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  Widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  Load(const Value* values) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
  }
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  LoadSome(__mmask16 mask, const Value* values) {
    return Widen(_mm256_maskz_loadu_epi16(mask, values));
  }
};

struct Fp16 {
  using Value = uint16_t;
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  Load(const Value* values) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
  }
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] static inline __m512
  LoadSome(__mmask16 mask, const Value* values) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, values));
  }
};

template <typename Type>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] float Dot(const typename Type::Value* row,
                                                                const float* x, int64_t size) {
  constexpr int64_t kSums = 4;
  __m512 sums[kSums];
#pragma GCC unroll 4
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  int64_t k = 0;
  for (; k + kSums * kVector <= size; k += kSums * kVector) {
    constexpr int64_t kBytes = kSums * kVector * sizeof(*row);
#pragma GCC unroll 4
    for (int64_t i = 0; i < kBytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(row + k) + kBytesAhead + i, _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kSums; ++i) {
      const int64_t at = k + i * kVector;
      sums[i] = _mm512_fmadd_ps(Type::Load(row + at), _mm512_loadu_ps(x + at), sums[i]);
    }
  }
  for (; k < size; k += kVector) {
    const int64_t some = std::min(kVector, size - k);
    const auto mask = static_cast<__mmask16>((1U << static_cast<unsigned>(some)) - 1);
    sums[0] =
        _mm512_fmadd_ps(Type::LoadSome(mask, row + k), _mm512_maskz_loadu_ps(mask, x + k), sums[0]);
  }
  return _mm512_reduce_add_ps(
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

template <typename Type>
void MultiplyRowsOf(const WeightRows& w, int64_t count, const float* x, float* y, bool add) {
  const auto* row = static_cast<const typename Type::Value*>(w.data);
  for (int64_t i = 0; i < count; ++i, row += w.columns) {
    const float value = Dot<Type>(row, x, w.columns);
    y[i] = add ? y[i] + value : value;
  }
}

// Some of a sum's columns stay in registers while all rows go by.
template <typename Type, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void AddColumnsOf(
    const typename Type::Value* values, int64_t stride, int64_t count, int64_t columns,
    const float* x, float* sum) {
  __m512 sums[kVectors];
  const int64_t rest = columns - kVector * (kVectors - 1);
  const auto last = static_cast<__mmask16>((1U << static_cast<unsigned>(rest)) - 1);
  const auto mask_of = [&](int j) {
    return j + 1 < kVectors ? static_cast<__mmask16>(0xffff) : last;
  };
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) {
    sums[j] = _mm512_maskz_loadu_ps(mask_of(j), sum + kVector * j);
  }
  for (int64_t i = 0; i < count; ++i, values += stride) {
    const __m512 factor = _mm512_set1_ps(x[i]);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      sums[j] = _mm512_fmadd_ps(factor, Type::LoadSome(mask_of(j), values + kVector * j), sums[j]);
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) {
    _mm512_mask_storeu_ps(sum + kVector * j, mask_of(j), sums[j]);
  }
}

template <typename Type>
void AddRowsOf(const WeightRows& w, int64_t count, const float* x, float* sum) {
  constexpr int kVectors = 8;
  const auto* values = static_cast<const typename Type::Value*>(w.data);
  int64_t at = 0;
  for (; at + kVectors * kVector <= w.columns; at += kVectors * kVector) {
    AddColumnsOf<Type, kVectors>(values + at, w.columns, count, kVectors * kVector, x, sum + at);
  }
  for (; at < w.columns; at += kVector) {
    const int64_t some = std::min(kVector, w.columns - at);
    AddColumnsOf<Type, 1>(values + at, w.columns, count, some, x, sum + at);
  }
}

}  // namespace

void MultiplyRows(const WeightRows& w, int64_t count, const float* x, float* y, bool add) {
  switch (w.type) {
    case WeightType::kFp32:
      return MultiplyRowsOf<Fp32>(w, count, x, y, add);
    case WeightType::kBf16:
      return MultiplyRowsOf<Bf16>(w, count, x, y, add);
    case WeightType::kFp16:
      return MultiplyRowsOf<Fp16>(w, count, x, y, add);
  }
}

void AddRows(const WeightRows& w, int64_t count, const float* x, float* sum) {
  switch (w.type) {
    case WeightType::kFp32:
      return AddRowsOf<Fp32>(w, count, x, sum);
    case WeightType::kBf16:
      return AddRowsOf<Bf16>(w, count, x, sum);
    case WeightType::kFp16:
      return AddRowsOf<Fp16>(w, count, x, sum);
  }
}

#else

void MultiplyRows(const WeightRows&, int64_t, const float*, float*, bool) {
  Check(false, "a CPU without kernels");
}

void AddRows(const WeightRows&, int64_t, const float*, float*) {
  Check(false, "a CPU without kernels");
}

#endif

}  // namespace fedtune
