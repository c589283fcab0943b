// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "model/transformer/attention_heads.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/packed_batch.h"

namespace fedtune {

// Causal attention on a CPU with matrix kernels, segment by segment: nothing is
// padded or moved, keys that a row does not see are mostly not looked at, and
// scores are computed again for the derivative.

// Whether there are kernels for these heads and no segment has a prefix.
bool CanAttendOnCpu(const Heads& heads, const AttentionPlan& plan);

// [rows, heads * value_dim], of the first `value_dim` of each head's values. With
// kFp32ByBf16 products round what they take; the softmax and all sums are in fp32.
// Differentiable with respect to the heads.
at::Tensor AttendOnCpu(const Heads& heads, const AttentionPlan& plan, double scale,
                       int64_t value_dim, RightType products);

}  // namespace fedtune
