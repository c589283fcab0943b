// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/linear.h"

#include <algorithm>
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

// What the forward pass leaves to the backward one.
struct LayersOnCpu {
  std::vector<AdaptedLinear> layers;
  std::vector<at::Tensor> lows;
  at::Tensor rows;  // Undefined where no A is trained.
  InputGradient input_gradient;

  // Gradients of x and of all layers' factors.
  std::vector<at::Tensor> Backward(const std::vector<at::Tensor>& y_gradients) const {
    std::vector<CpuLinearPass> passes;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (!y_gradients[i].defined()) continue;  // Nobody used it.
      passes.push_back(
          {WithWholeRows(y_gradients[i]), lows[i], &layers[i].linear, &layers[i].lora});
    }
    const std::vector<LinearGradients> made = CpuLinearsBackward(passes, rows, input_gradient);
    std::vector<at::Tensor> gradients = {made[0].x};
    size_t next = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const LinearGradients g = y_gradients[i].defined() ? made[next++] : LinearGradients();
      gradients.insert(gradients.end(), {g.a, g.b});
    }
    return gradients;
  }
};

// All layers round, or none does.
std::vector<at::Tensor> ApplyLinearsOnCpu(const at::Tensor& x,
                                          const std::vector<AdaptedLinear>& layers) {
  LayersOnCpu kept = {layers, {}, {}, InputGradient::kSkip};
  std::vector<at::Tensor> outputs, inputs = {x};
  bool trains_a = false;
  {
    at::NoGradGuard no_grad;
    kept.rows = KernelRows(x.detach(), layers[0].linear);
    for (const auto& [linear, lora] : layers) {
      CpuLinearResult result = CpuLinearForward(kept.rows, linear, lora);
      outputs.push_back(std::move(result.y));
      kept.lows.push_back(std::move(result.low));
      inputs.insert(inputs.end(), {lora.a, lora.b});
      trains_a = trains_a || (lora.defined() && lora.a.requires_grad());
    }
  }
  if (!NeedsGradient(inputs)) return outputs;
  if (!trains_a) kept.rows.reset();
  if (x.requires_grad()) kept.input_gradient = InputGradient::kCompute;
  return Differentiable(std::move(outputs), inputs,
                        [kept = std::move(kept)](const std::vector<at::Tensor>& gradients) {
                          return kept.Backward(gradients);
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
  if (UsesKernels(x, linear, lora)) return ApplyLinearsOnCpu(x, {{linear, lora}})[0];
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

std::vector<at::Tensor> ApplyLinears(const at::Tensor& x,
                                     const std::vector<AdaptedLinear>& layers) {
  const bool by_kernels =
      std::all_of(layers.begin(), layers.end(), [&](const AdaptedLinear& layer) {
        return UsesKernels(x, layer.linear, layer.lora) &&
               Rounds(layer.linear) == Rounds(layers[0].linear);
      });
  if (by_kernels) return ApplyLinearsOnCpu(x, layers);
  std::vector<at::Tensor> outputs;
  for (const auto& [linear, lora] : layers) outputs.push_back(ApplyLinear(x, linear, lora));
  return outputs;
}

}  // namespace fedtune
