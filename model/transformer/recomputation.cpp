// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/recomputation.h"

#include <optional>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "model/transformer/differentiable.h"
#include "torch/csrc/autograd/autograd.h"

namespace fedtune {

at::Tensor Recomputed(const at::Tensor& y, const at::Tensor& x, std::vector<at::Tensor> parameters,
                      std::function<at::Tensor(const at::Tensor& x)> function) {
  std::erase_if(parameters, [](const at::Tensor& parameter) {
    return !parameter.defined() || !parameter.requires_grad();
  });
  std::vector<at::Tensor> inputs = parameters;
  if (x.requires_grad()) inputs.push_back(x);
  return Differentiable(
      y.detach(), inputs,
      [kept = x.detach(), wants_x = x.requires_grad(), parameters = std::move(parameters),
       function = std::move(function)](const std::vector<at::Tensor>& gradients) {
        const at::AutoGradMode recording(true);
        const at::Tensor again = kept.detach().requires_grad_(wants_x);
        std::vector<at::Tensor> by = parameters;
        if (wants_x) by.push_back(again);
        // Experts that no row came to have no gradient.
        return torch::autograd::grad({function(again)}, by, gradients,
                                     /*retain_graph=*/std::nullopt, /*create_graph=*/false,
                                     /*allow_unused=*/true);
      });
}

}  // namespace fedtune
