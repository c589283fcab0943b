// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/dropout.h"

namespace fedtune {

// A frozen linear layer: y = x W^T + bias. The weight may be of a narrower type
// than x; it is widened while it is used.
struct Linear {
  at::Tensor weight;  // [out, in]
  int64_t index = 0;  // Among the model's linear layers.

  // Whether x, the gradient of y and LoRA's factors are rounded to bf16 for a weight in bf16
  // where the CPU has kernels for that (HasBf16Kernels()).
  bool rounds_inputs = false;

  at::Tensor bias = {};  // [out], of the type of activations; undefined where there is none.
};

// What LoRA adds to a linear layer: scale * (x A^T) B^T, where dropout may have
// changed x. B A is never formed.
struct LoraFactors {
  at::Tensor a;  // [rank, in], fp32; undefined where a layer is not adapted.
  at::Tensor b;  // [out, rank], fp32.
  double scale = 0;
  Dropout dropout;  // Of this pass.

  bool defined() const { return a.defined(); }
};

// y = x W^T + bias + scale (x A^T) B^T for the rows of x, [rows, in].
// Differentiable with respect to x and the factors.
at::Tensor ApplyLinear(const at::Tensor& x, const Linear& linear, const LoraFactors& lora);

struct AdaptedLinear {
  Linear linear;
  LoraFactors lora;
};

// The same of several layers that take the same x, one result each.
std::vector<at::Tensor> ApplyLinears(const at::Tensor& x, const std::vector<AdaptedLinear>& layers);

// ApplyLinear() in two parts, for functions that bring their own derivative.
at::Tensor LinearForward(const at::Tensor& x, const Linear& linear, const LoraFactors& lora);

// Undefined where not asked for.
struct LinearGradients {
  at::Tensor x;
  at::Tensor a;
  at::Tensor b;
};

// Whether the gradient of x is wanted; a factor's is when it requires one.
enum class InputGradient : bool { kSkip, kCompute };

LinearGradients LinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                               const Linear& linear, const LoraFactors& lora,
                               InputGradient input_gradient);

}  // namespace fedtune
