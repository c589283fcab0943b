// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fedtune {

// Products of fp32 matrices by kernels of our own, for the CPUs that have them:
// rows may be gathered from anywhere, weights may be bf16, and several products
// add up in one pass. What a value comes to depends on its own row and column
// alone, never on how work is divided, so that any number of threads gives equal
// bits.

// Whether this CPU has the kernels (AVX-512). The functions below require it.
bool HasMatrixKernels();

// Whether it has those that multiply bf16 by bf16, too (AVX-512 BF16, AMX).
bool HasBf16Kernels();

// The value of row m and depth k is data[row * stride + k * step], where row is m or,
// with an index, rows[m].
struct LeftFactor {
  const float* data = nullptr;
  int64_t stride = 0;
  int64_t step = 1;
  const int64_t* rows = nullptr;

  // The same rounded to bf16, with a zero behind an odd depth, from
  // pairs[row * pair_stride] on: two values where one of fp32 would lie. Or null; there may
  // be nothing but these for products that round.
  const float* pairs = nullptr;
  int64_t pair_stride = 0;
};

enum class RightOrder : bool {
  kByDepth,   // The value of depth k and column n is data[row(k) * stride + n].
  kByColumn,  // data[n * stride + k]
};

enum class RightType : uint8_t {
  kFp32,
  kBf16,        // Widened while it is packed.
  kBf16ByBf16,  // The left factor is rounded to bf16, to the nearest value, for products of
                // twice the speed that are added up in fp32. Requires HasBf16Kernels().
  kFp32ByBf16,  // The same, and so is this factor.
};

struct RightFactor {
  const void* data = nullptr;
  int64_t stride = 0;
  RightOrder order = RightOrder::kByDepth;
  RightType type = RightType::kFp32;
  const int64_t* rows = nullptr;  // With kByDepth: an index, as in LeftFactor.

  // What PackedFactor has made of its first rows and columns; or null.
  const float* panels = nullptr;
  int64_t panel_depth = 0;
  int64_t panel_columns = 0;
};

// Whether the left factor is rounded.
constexpr bool RoundsLeft(RightType type) {
  return type == RightType::kBf16ByBf16 || type == RightType::kFp32ByBf16;
}

// What is left of a factor from a row, or column, on.
LeftFactor FromRow(LeftFactor left, int64_t row);
RightFactor FromColumn(RightFactor right, int64_t column);

// Room for the first rows and columns of a right factor, packed once for all products by
// Multiply() that take some of them, from the first on.
class PackedFactor {
 public:
  // Good until it packs another one.
  RightFactor Pack(const RightFactor& right, int64_t depth, int64_t columns);

 private:
  std::vector<float> room_;
};

// Room for rows of pairs that an index has chosen, for several products that take them: on some
// CPUs each would gather them anew.
class GatheredRows {
 public:
  // The factor, or what is equal to it and good until the next one.
  LeftFactor Of(const LeftFactor& left, int64_t depth, int64_t rows);

 private:
  std::vector<float> room_;
};

struct MatrixTerm {
  LeftFactor left;
  RightFactor right;
  int64_t depth = 0;
};

struct MatrixResult {
  float* data = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  bool add = false;  // To what it holds.
};

// result = the sum of the terms, on this thread.
void Multiply(std::span<const MatrixTerm> terms, const MatrixResult& result);

// The same on all threads, each with its part of the rows or columns.
void MultiplyInParallel(std::span<const MatrixTerm> terms, const MatrixResult& result);

}  // namespace fedtune
