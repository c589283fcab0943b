// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/linear.h"

#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/products.h"

namespace fedtune {
namespace {

// Fewer rows are not worth a packed weight, unless it would have to be widened.
constexpr int64_t kRowsForKernels = 4;

// Dropout has none.
bool UsesKernels(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  const bool is_worth_it =
      x.size(0) >= kRowsForKernels || linear.weight.scalar_type() != x.scalar_type();
  return is_worth_it && !lora.dropout && HaveKernels(x, linear);
}

at::Tensor WithWholeRows(const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

// Rows as the layer's kernels take them.
at::Tensor KernelRows(const at::Tensor& x, const Linear& linear) {
  return Prepared(WithWholeRows(x), linear);
}

at::Tensor ApplyLinearOnCpu(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  at::Tensor rows;
  CpuLinearResult result;
  {
    at::NoGradGuard no_grad;
    rows = KernelRows(x.detach(), linear);
    result = CpuLinearForward(rows, linear, lora);
  }
  if (!NeedsGradient({x, lora.a, lora.b})) return result.y;
  if (!lora.defined() || !lora.a.requires_grad()) rows.reset();
  const auto wanted = x.requires_grad() ? InputGradient::kCompute : InputGradient::kSkip;
  return Differentiable(
      result.y, {x, lora.a, lora.b},
      [rows, low = result.low, linear, lora, wanted](const std::vector<at::Tensor>& gradients) {
        const LinearGradients g =
            CpuLinearBackward(WithWholeRows(gradients[0]), rows, low, linear, lora, wanted);
        return std::vector<at::Tensor>{g.x, g.a, g.b};
      });
}

// `x`'s type wins: frozen weights widen, fp32 factors follow a narrower x.
at::Tensor As(const at::Tensor& tensor, const at::Tensor& x) {
  return tensor.scalar_type() == x.scalar_type() ? tensor : tensor.to(x.scalar_type());
}

// Of a layer without factors, whose derivative needs no x.
at::Tensor WithFrozenDerivative(at::Tensor y, const at::Tensor& x, const Linear& linear) {
  return Differentiable(std::move(y), {x}, [linear](const std::vector<at::Tensor>& gradients) {
    const at::Tensor& by_y = gradients[0];
    return std::vector<at::Tensor>{Product(by_y, As(linear.weight, by_y).t())};
  });
}

}  // namespace

at::Tensor LinearForward(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  at::NoGradGuard no_grad;
  if (UsesKernels(x, linear, lora)) {
    return CpuLinearForward(KernelRows(x, linear), linear, lora).y;
  }
  at::Tensor y = Product(x, As(linear.weight, x));
  if (linear.bias.defined()) y.add_(linear.bias);
  if (lora.defined()) {
    const at::Tensor seen = lora.dropout ? DropoutMask(x, lora.dropout).mul_(x) : x;
    y.addmm_(Product(seen, As(lora.a, x)), As(lora.b, x).t(), /*beta=*/1, /*alpha=*/lora.scale);
  }
  return y;
}

LinearGradients LinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                               const Linear& linear, const LoraFactors& lora,
                               InputGradient input_gradient) {
  at::NoGradGuard no_grad;
  if (UsesKernels(x, linear, lora)) {
    at::Tensor low;
    if (lora.defined()) low = Product(x, lora.a).mul_(lora.scale);
    return CpuLinearBackward(WithWholeRows(y_gradient), KernelRows(x, linear), low, linear, lora,
                             input_gradient);
  }
  LinearGradients gradients;
  const bool wants_x = input_gradient == InputGradient::kCompute;
  if (wants_x) gradients.x = Product(y_gradient, As(linear.weight, x).t());
  if (!lora.defined()) return gradients;
  const at::Tensor a = As(lora.a, x);
  const at::Tensor mask = lora.dropout ? DropoutMask(x, lora.dropout) : at::Tensor();
  const at::Tensor seen = mask.defined() ? mask.mul(x) : x;
  if (lora.b.requires_grad()) {
    const at::Tensor low = Product(seen, a).mul_(lora.scale);
    gradients.b = As(Product(low.t(), y_gradient.t()).t(), lora.b);
  }
  if (!wants_x && !lora.a.requires_grad()) return gradients;
  const at::Tensor low_gradient = Product(y_gradient, As(lora.b, x).t()).mul_(lora.scale);
  if (lora.a.requires_grad()) {
    gradients.a = As(Product(low_gradient.t(), seen.t()), lora.a);
  }
  if (wants_x && mask.defined()) {
    gradients.x.add_(Product(low_gradient, a.t()).mul_(mask));
  } else if (wants_x) {
    gradients.x.addmm_(low_gradient, a);
  }
  return gradients;
}

at::Tensor ApplyLinear(const at::Tensor& x, const Linear& linear, const LoraFactors& lora) {
  if (UsesKernels(x, linear, lora)) return ApplyLinearOnCpu(x, linear, lora);
  at::Tensor y = LinearForward(x, linear, lora);
  if (!NeedsGradient({x, lora.a, lora.b})) return y;
  if (!lora.defined()) return WithFrozenDerivative(std::move(y), x, linear);
  const auto wanted = x.requires_grad() ? InputGradient::kCompute : InputGradient::kSkip;
  return Differentiable(
      y, {x, lora.a, lora.b}, [x, linear, lora, wanted](const std::vector<at::Tensor>& gradients) {
        const LinearGradients g = LinearBackward(gradients[0], x, linear, lora, wanted);
        return std::vector<at::Tensor>{g.x, g.a, g.b};
      });
}

}  // namespace fedtune
