// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/gather.h"

#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/zeros.h"
#include "model/transformer/differentiable.h"

namespace fedtune {
namespace {

at::Tensor Select(const at::Tensor& x, const at::Tensor& index) {
  at::NoGradGuard no_grad;
  return x.index_select(0, index);
}

}  // namespace

at::Tensor GatherRows(const at::Tensor& x, const at::Tensor& row_of_slot,
                      const at::Tensor& slot_of_row) {
  return Differentiable(Select(x, row_of_slot), {x},
                        [slot_of_row](const std::vector<at::Tensor>& gradients) {
                          return std::vector<at::Tensor>{Select(gradients[0], slot_of_row)};
                        });
}

at::Tensor SelectRows(const at::Tensor& x, const at::Tensor& rows) {
  return Differentiable(Select(x, rows), {x},
                        [sizes = x.sizes().vec(), options = x.options(),
                         rows](const std::vector<at::Tensor>& gradients) {
                          at::Tensor gradient = at::zeros(sizes, options);
                          gradient.index_copy_(0, rows, gradients[0]);
                          return std::vector<at::Tensor>{gradient};
                        });
}

}  // namespace fedtune
