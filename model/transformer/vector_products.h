// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

#include "ATen/core/Tensor.h"

namespace fedtune {

// Products of a matrix with one vector, for the CPUs of HasMatrixKernels(), on the
// calling thread. Each value of the matrix is read once, as it lies in memory; a
// result depends on the rows it is made of alone, never on how work is divided.

enum class WeightType : uint8_t { kFp32, kBf16, kFp16 };

// A matrix whose rows lie one behind the other.
struct WeightRows {
  const void* data = nullptr;
  int64_t columns = 0;
  WeightType type = WeightType::kFp32;

  WeightRows From(int64_t row) const;
  int64_t bytes_per_row() const { return columns * (type == WeightType::kFp32 ? 4 : 2); }
};

// The rows of a tensor, [..., columns]; none where there is no kernel for it.
std::optional<WeightRows> WeightRowsOf(const at::Tensor& weight);

// y[i] = the i-th row times x, for the first `count` rows; added to what y holds if `add`.
void MultiplyRows(const WeightRows& w, int64_t count, const float* x, float* y, bool add = false);

// sum += x[i] times the i-th row, for the first `count` rows.
void AddRows(const WeightRows& w, int64_t count, const float* x, float* sum);

}  // namespace fedtune
