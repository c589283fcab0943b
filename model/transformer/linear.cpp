// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/linear.h"

#include "ATen/core/grad_mode.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/products.h"

namespace fedtune {
namespace {

// `x`'s type wins: frozen weights widen, fp32 factors follow a narrower x.
at::Tensor As(const at::Tensor& tensor, const at::Tensor& x) {
  return tensor.scalar_type() == x.scalar_type() ? tensor : tensor.to(x.scalar_type());
}

}  // namespace

at::Tensor LinearForward(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  at::NoGradGuard no_grad;
  at::Tensor y = Product(x, As(linear.weight, x));
  if (lora.defined()) {
    y.addmm_(Product(x, As(lora.a, x)), As(lora.b, x).t(), /*beta=*/1, /*alpha=*/lora.scale);
  }
  return y;
}

LinearGradients LinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                               const Linear& linear, const LoraFactors& lora,
                               InputGradient input_gradient) {
  at::NoGradGuard no_grad;
  LinearGradients gradients;
  const bool wants_x = input_gradient == InputGradient::kCompute;
  if (wants_x) gradients.x = Product(y_gradient, As(linear.weight, x).t());
  if (!lora.defined()) return gradients;
  const at::Tensor a = As(lora.a, x);
  if (lora.b.requires_grad()) {
    const at::Tensor low = Product(x, a).mul_(lora.scale);
    gradients.b = As(Product(low.t(), y_gradient.t()).t(), lora.b);
  }
  if (!wants_x && !lora.a.requires_grad()) return gradients;
  const at::Tensor low_gradient = Product(y_gradient, As(lora.b, x).t()).mul_(lora.scale);
  if (lora.a.requires_grad()) {
    gradients.a = As(Product(low_gradient.t(), x.t()), lora.a);
  }
  if (wants_x) gradients.x.addmm_(low_gradient, a);
  return gradients;
}

at::Tensor ApplyLinear(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  at::Tensor y = LinearForward(x, linear, lora);
  if (!NeedsGradient({x, lora.a, lora.b})) return y;
  const auto wanted = x.requires_grad() ? InputGradient::kCompute : InputGradient::kSkip;
  return Differentiable(
      y, {x, lora.a, lora.b}, [x, linear, lora, wanted](const std::vector<at::Tensor>& gradients) {
        const LinearGradients g = LinearBackward(gradients[0], x, linear, lora, wanted);
        return std::vector<at::Tensor>{g.x, g.a, g.b};
      });
}

}  // namespace fedtune
