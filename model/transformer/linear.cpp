// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/linear.h"

#include "ATen/core/grad_mode.h"
#include "ATen/ops/mm.h"
#include "model/transformer/differentiable.h"

namespace fedtune {
namespace {

// `x`'s type wins: frozen weights widen, fp32 factors follow a narrower x.
at::Tensor As(const at::Tensor& tensor, const at::Tensor& x) { return tensor.to(x.scalar_type()); }

}  // namespace

at::Tensor LinearForward(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  at::NoGradGuard no_grad;
  at::Tensor y = at::mm(x, As(linear.weight, x).t());
  if (lora.defined()) {
    y.addmm_(at::mm(x, As(lora.a, x).t()), As(lora.b, x).t(), /*beta=*/1, /*alpha=*/lora.scale);
  }
  return y;
}

LinearGradients LinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                               const Linear& linear, const LoraFactors& lora,
                               InputGradient input_gradient) {
  at::NoGradGuard no_grad;
  LinearGradients gradients;
  const bool wants_x = input_gradient == InputGradient::kCompute;
  if (wants_x) gradients.x = at::mm(y_gradient, As(linear.weight, x));
  if (!lora.defined()) return gradients;
  const at::Tensor a = As(lora.a, x);
  if (lora.b.requires_grad()) {
    const at::Tensor low = at::mm(x, a.t()).mul_(lora.scale);
    gradients.b = at::mm(y_gradient.t(), low).to(lora.b.scalar_type());
  }
  if (!wants_x && !lora.a.requires_grad()) return gradients;
  const at::Tensor low_gradient = at::mm(y_gradient, As(lora.b, x)).mul_(lora.scale);
  if (lora.a.requires_grad()) {
    gradients.a = at::mm(low_gradient.t(), x).to(lora.a.scalar_type());
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
