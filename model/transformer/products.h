// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"

namespace fedtune {

// x w^T for x, [rows, in], and w, [out, in], of one type: every matrix product
// of ours but those that add to their result. Either may be a transposed view.
// Not differentiable.
//
// Large fp32 products on CPUs with AVX-512 that are not Intel's are oneDNN's:
// MKL, which LibTorch takes for them, uses no AVX-512 there and has half the
// speed. Which of the two computes depends on the shapes alone, so that equal
// inputs give equal bits.
at::Tensor Product(const at::Tensor& x, const at::Tensor& w);

}  // namespace fedtune
