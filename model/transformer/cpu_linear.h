// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/linear.h"
#include "model/transformer/matrix_products.h"

namespace fedtune {

// Linear layers with LoRA over some rows, on a CPU with matrix kernels: the parts
// that ApplyLinear() and experts are made of. All on the calling thread.

// Whether there are kernels for rows like x and this layer.
bool HaveKernels(const at::Tensor& x, const Linear& linear);

// How what is in fp32 is multiplied where the layer is: as exactly as its weight.
RightType FactorTypeOf(const Linear& linear);

// fp32 rows in memory.
struct Rows {
  float* data = nullptr;
  int64_t stride = 0;

  Rows From(int64_t row) const { return {data + row * stride, stride}; }
  Rows FromColumn(int64_t column) const { return {data + column, stride}; }
};

// A matrix of fp32 with contiguous rows; none if it is empty.
Rows RowsOf(const at::Tensor& x);

LeftFactor LeftOf(Rows rows);
// As the depth of a product.
RightFactor RightOf(Rows rows);

// bf16 rows in memory, of an even stride, with a zero behind an odd number of values.
struct Bf16Rows {
  uint16_t* data = nullptr;
  int64_t stride = 0;

  // Those that begin where the fp32 rows do.
  static Bf16Rows Within(Rows rows) {
    return {reinterpret_cast<uint16_t*>(rows.data), 2 * rows.stride};
  }
  Bf16Rows From(int64_t row) const { return {data + row * stride, stride}; }
};

LeftFactor LeftOf(Bf16Rows rows);
RightFactor RightOf(Bf16Rows rows);

// Whether products with the layer round what they take.
bool Rounds(const Linear& linear);

// Contiguous rows, [rows, in] or [rows, out], as products with the layer take them: x, or where
// they round a tensor of bf16 with room for an even number of columns, as which x stays if it is
// one.
at::Tensor Prepared(const at::Tensor& x, const Linear& linear);

// Such rows from some row on, or those of the index.
LeftFactor LeftOf(const at::Tensor& prepared, int64_t row = 0, const int64_t* index = nullptr);
RightFactor RightOf(const at::Tensor& prepared, int64_t row = 0, const int64_t* index = nullptr);

int64_t RankOf(const LoraFactors& lora);

// y = x W^T + bias + low B^T with low = scale x A^T, which is written, too.
void ForwardRows(const Linear& linear, const LoraFactors& lora, const LeftFactor& x, int64_t count,
                 Rows low, Rows y);

// low = scale y_gradient B.
void LowGradientRows(const Linear& linear, const LoraFactors& lora, const LeftFactor& y_gradient,
                     int64_t count, Rows low);

// Appends what adds up to the gradient of x: y_gradient W + low_gradient A.
void AppendInputTerms(const Linear& linear, const LoraFactors& lora, const LeftFactor& y_gradient,
                      Rows low_gradient, std::vector<MatrixTerm>& terms);

// The gradients of columns [begin, end) of A and of rows [begin, end) of B, whose
// other values stay as they are. `low` and `low_gradient` are as above; `x` and
// `y_gradient` have the same `count` rows.
struct ColumnRange {
  int64_t begin;
  int64_t end;
};
void GradientOfA(Rows low_gradient, const RightFactor& x, int64_t count, ColumnRange columns,
                 const at::Tensor& a_gradient);
void GradientOfB(Rows low, const RightFactor& y_gradient, int64_t count, ColumnRange columns,
                 const at::Tensor& b_gradient);

// A whole layer on all threads. `low` has a row for each of x, and is undefined
// where the layer is not adapted; the backward pass takes it from the forward one.
// Rows of x are prepared; the backward pass needs them where A is trained.
struct CpuLinearResult {
  at::Tensor y;
  at::Tensor low;
};
CpuLinearResult CpuLinearForward(const at::Tensor& x, const Linear& linear,
                                 const LoraFactors& lora);

// The gradients of several layers that took the same rows, given each one's forward pass and
// the gradient of what it gave. That of x, the sum of all layers', is the first one's.
struct CpuLinearPass {
  at::Tensor y_gradient;
  at::Tensor low;
  const Linear* linear;
  const LoraFactors* lora;
};
std::vector<LinearGradients> CpuLinearsBackward(std::span<const CpuLinearPass> layers,
                                                const at::Tensor& x, InputGradient input_gradient);

LinearGradients CpuLinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                                  const at::Tensor& low, const Linear& linear,
                                  const LoraFactors& lora, InputGradient input_gradient);

}  // namespace fedtune
