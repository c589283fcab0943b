// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/differentiable.h"

#include <memory>
#include <string>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "base/check.h"
#include "torch/csrc/autograd/function.h"
#include "torch/csrc/autograd/functions/utils.h"

namespace fedtune {
namespace {

// A node of LibTorch's graph that runs a closure.
class ClosureNode final : public torch::autograd::Node {
 public:
  ClosureNode(torch::autograd::edge_list edges, Backward backward)
      : Node(std::move(edges)), backward_(std::move(backward)) {}

  std::string name() const override { return "ClosureNode"; }
  void release_variables() override { backward_ = nullptr; }

 private:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    Check(backward_ != nullptr, "a derivative was asked for twice");
    at::NoGradGuard no_grad;
    return backward_(gradients);
  }

  Backward backward_;
};

}  // namespace

bool NeedsGradient(at::TensorList inputs) {
  if (!at::GradMode::is_enabled()) return false;
  for (const at::Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) return true;
  }
  return false;
}

std::vector<at::Tensor> Differentiable(std::vector<at::Tensor> outputs, at::TensorList inputs,
                                       Backward backward) {
  if (!NeedsGradient(inputs)) return outputs;
  torch::autograd::edge_list edges;
  edges.reserve(inputs.size());
  for (const at::Tensor& input : inputs) {
    edges.push_back(input.defined() ? torch::autograd::impl::gradient_edge(input)
                                    : torch::autograd::Edge());
  }
  auto node = std::make_shared<ClosureNode>(std::move(edges), std::move(backward));
  for (const at::Tensor& output : outputs) torch::autograd::set_history(output, node);
  return outputs;
}

at::Tensor Differentiable(at::Tensor output, at::TensorList inputs, Backward backward) {
  std::vector<at::Tensor> outputs = {std::move(output)};
  return Differentiable(std::move(outputs), inputs, std::move(backward))[0];
}

}  // namespace fedtune
