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

// Whether there are kernels for these queries and no segment has a prefix.
bool CanAttendOnCpu(const at::Tensor& queries, const AttentionPlan& plan);

// [rows, heads * width of a value]. With kFp32ByBf16 products round what they take; the
// softmax and all sums are in fp32. Differentiable with respect to the heads, which are
// contiguous.
at::Tensor AttendOnCpu(const Heads& heads, const AttentionPlan& plan, double scale,
                       RightType products);

// The same for heads of latent attention, of which none is assembled: keys and values are
// read where they are, and queries get their positions in place, of which nobody else may
// make use.
at::Tensor AttendOnCpu(const LatentHeads& latent, const AttentionShape& shape,
                       const AttentionContext& context, RightType products);

}  // namespace fedtune
