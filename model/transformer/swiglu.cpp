// SPDX-License-Identifier: Apache-2.0

#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/vector_exp.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

// Those of a vector's values that are in a row, and those that are stored: in bf16 there is a
// zero behind an odd number of them.
struct Lanes {
  __mmask16 values, stored;
};
constexpr Lanes kAll = {0xffff, 0xffff};

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline Lanes LanesOf(
    int64_t begin, int64_t size) {
  return {MaskOf(begin, size), MaskOf(begin, size + size % 2)};
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline void Store(
    float* to, Lanes lanes, __m512 values) {
  _mm512_mask_storeu_ps(to, lanes.values, values);
}

// Rounded. Of instructions for bf16 a compiler makes none but those it is told to.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline void
Store(uint16_t* to, Lanes lanes, __m512 values) {
  _mm256_mask_storeu_epi16(to, lanes.stored, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Widened(
    __m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Load(
    const float* from, Lanes lanes) {
  return _mm512_maskz_loadu_ps(lanes.values, from);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Load(
    const uint16_t* from, Lanes lanes) {
  return Widened(_mm256_maskz_loadu_epi16(lanes.values, from));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Activated(
    __m512 gate, __m512 up) {
  return _mm512_mul_ps(_mm512_mul_ps(gate, Sigmoid(gate)), up);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline __m512
Rounded(__m512 values) {
  return Widened(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
}

// Up to one vector from a column on.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline void
SwiGluSome(const float* gate, const float* up, int64_t column, Lanes lanes,
           const Bf16SwiGlu& rounded) {
  const __m512 g = Rounded(Load(gate + column, lanes)), u = Rounded(Load(up + column, lanes));
  Store(rounded.gate + column, lanes, g);
  Store(rounded.up + column, lanes, u);
  Store(rounded.hidden + column, lanes, Activated(g, u));
}

// Two whole vectors as pairs of bf16.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline __m512i
PairsAt(const float* values) {
  return reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + kVector), _mm512_loadu_ps(values)));
}

// The first and the second ones of pairs.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 FirstOf(
    __m512i pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 SecondOf(
    __m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}

// Rounds both and makes pairs of them.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline __m512i
Paired(__m512 first, __m512 second) {
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(first));
  const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(second));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

// Two whole vectors: as pairs, which are taken apart with less than it takes to widen them.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline void
SwiGluPairs(const float* gate, const float* up, int64_t column, const Bf16SwiGlu& rounded) {
  const __m512i g = PairsAt(gate + column), u = PairsAt(up + column);
  _mm512_storeu_si512(rounded.gate + column, g);
  _mm512_storeu_si512(rounded.up + column, u);
  _mm512_storeu_si512(rounded.hidden + column, Paired(Activated(FirstOf(g), FirstOf(u)),
                                                      Activated(SecondOf(g), SecondOf(u))));
}

// What the forward pass has left in memory is asked for ahead: the processor does so itself,
// but not beyond the end of a page.
template <typename Value>
inline void ReadAhead(const Value* values) {
  constexpr int64_t kBytesAhead = 1024;
  _mm_prefetch(reinterpret_cast<const char*>(values) + kBytesAhead, _MM_HINT_T0);
}

// Rows that the derivative takes and writes.
template <typename Value>
struct Row {
  const float* h_gradient;
  Value *gate, *up, *hidden;
};

// Up to one vector from a column on; what is to be added to `sum`'s lanes is in it then.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline __m512
BackwardSome(const Row<Value>& row, int64_t column, Lanes lanes, __m512 weight, __m512 sum) {
  const __m512 g = Load(row.gate + column, lanes), u = Load(row.up + column, lanes);
  const __m512 gradient = Load(row.h_gradient + column, lanes);
  const __m512 sigmoid = Sigmoid(g);
  const __m512 activation = _mm512_mul_ps(g, sigmoid);
  const __m512 h = _mm512_mul_ps(activation, u);
  const __m512 weighted = _mm512_mul_ps(gradient, weight);
  // silu'(g) = sigmoid(g) + silu(g) (1 - sigmoid(g))
  const __m512 slope =
      _mm512_fmadd_ps(activation, _mm512_sub_ps(_mm512_set1_ps(1), sigmoid), sigmoid);
  Store(row.hidden + column, lanes, h);
  Store(row.up + column, lanes, _mm512_mul_ps(weighted, activation));
  Store(row.gate + column, lanes, _mm512_mul_ps(_mm512_mul_ps(weighted, u), slope));
  return _mm512_fmadd_ps(gradient, h, sum);
}

// Given the gradient by hidden, writes those by gate and up where they are, and hidden.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] float SwiGluBackwardTo(
    const Row<Value>& row, float weight, int64_t size) {
  const __m512 factor = _mm512_set1_ps(weight);
  __m512 sum = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + kVector <= size; i += kVector) {
    ReadAhead(row.gate + i), ReadAhead(row.up + i);
    sum = BackwardSome(row, i, kAll, factor, sum);
  }
  if (i < size) sum = BackwardSome(row, i, LanesOf(i, size), factor, sum);
  return _mm512_reduce_add_ps(sum);
}

}  // namespace

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void SwiGlu(const float* gate,
                                                                  const float* up, int64_t size,
                                                                  float* hidden) {
  for (int64_t i = 0; i < size; i += kVector) {
    const Lanes lanes = LanesOf(i, size);
    Store(hidden + i, lanes, Activated(Load(gate + i, lanes), Load(up + i, lanes)));
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void SwiGluInBf16(
    const float* gate, const float* up, int64_t size, const Bf16SwiGlu& rounded) {
  int64_t i = 0;
  for (; i + 2 * kVector <= size; i += 2 * kVector) SwiGluPairs(gate, up, i, rounded);
  for (; i < size; i += kVector) SwiGluSome(gate, up, i, LanesOf(i, size), rounded);
}

float SwiGluBackward(const float* h_gradient, float weight, int64_t size, float* gate, float* up,
                     float* hidden) {
  return SwiGluBackwardTo<float>({h_gradient, gate, up, hidden}, weight, size);
}

float SwiGluBackwardInBf16(const float* h_gradient, float weight, int64_t size,
                           const Bf16SwiGlu& rounded) {
  return SwiGluBackwardTo<uint16_t>({h_gradient, rounded.gate, rounded.up, rounded.hidden}, weight,
                                    size);
}

#else

void SwiGlu(const float*, const float*, int64_t, float*) { Check(false, "a CPU without kernels"); }

float SwiGluBackward(const float*, float, int64_t, float*, float*, float*) {
  Check(false, "a CPU without kernels");
  return 0;
}

void SwiGluInBf16(const float*, const float*, int64_t, const Bf16SwiGlu&) {
  Check(false, "a CPU without kernels");
}

float SwiGluBackwardInBf16(const float*, float, int64_t, const Bf16SwiGlu&) {
  Check(false, "a CPU without kernels");
  return 0;
}

#endif

}  // namespace fedtune
