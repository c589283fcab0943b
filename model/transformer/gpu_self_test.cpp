// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/gpu_self_test.h"

#include <cmath>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/ones.h"
#include "ATen/ops/scaled_dot_product_attention.h"
#include "ATen/ops/sin.h"
#include "ATen/ops/tril.h"
#include "base/status_macros.h"
#include "c10/util/Exception.h"
#include "fmt/format.h"
#include "model/transformer/experts.h"
#include "model/transformer/linear.h"
#include "model/transformer/rms_norm.h"
#include "model/transformer/rotary.h"

namespace fedtune {
namespace {

constexpr double kTolerance = 0.02;  // bf16 has 8 significant bits.

// Numbers between -1 and 1 that look random and are the same everywhere.
at::Tensor Numbers(at::IntArrayRef shape, double seed, at::Device device) {
  const at::Tensor index =
      at::arange(c10::multiply_integers(shape), at::TensorOptions(at::kDouble));
  return at::sin(index * 12.9898 + seed).view(shape).to(device, at::kBFloat16);
}

// `y` and the gradient of sum(y^2) / 2 with respect to `x`, in one.
at::Tensor WithGradient(const at::Tensor& y, const at::Tensor& x) {
  y.backward(y.detach());
  return at::cat({y.detach().flatten(), x.grad().flatten()});
}

at::Tensor RunLinear(at::Device device) {
  const at::Tensor x = Numbers({32, 64}, 1, device).requires_grad_();
  const Linear linear = {Numbers({48, 64}, 2, device), 0};
  const LoraFactors lora = {Numbers({8, 64}, 3, device).to(at::kFloat),
                            Numbers({48, 8}, 4, device).to(at::kFloat), 0.5};
  return WithGradient(ApplyLinear(x, linear, lora), x);
}

at::Tensor RunNorm(at::Device device) {
  const at::Tensor x = Numbers({32, 64}, 1, device).requires_grad_();
  const at::Tensor weight = Numbers({64}, 2, device).to(at::kFloat);
  return WithGradient(RmsNorm(x, weight, 1e-6), x);
}

at::Tensor RunRotation(at::Device device) {
  at::Tensor x = Numbers({32, 2, 16}, 1, device).clone();
  const at::Tensor frequencies = Numbers({8}, 2, device).to(at::kFloat);
  const at::Tensor positions = at::arange(32, at::TensorOptions(at::kLong).device(device));
  RotateInPlace(x, Rotations(positions, frequencies, 1));
  return x;
}

// Keys of 48 values and values of 32, as latent attention has them.
at::Tensor RunAttention(at::Device device, const std::optional<at::Tensor>& mask) {
  const at::Tensor q = Numbers({2, 4, 24, 48}, 1, device).requires_grad_();
  const at::Tensor k = Numbers({2, 4, 24, 48}, 2, device);
  const at::Tensor v = Numbers({2, 4, 24, 32}, 3, device);
  return WithGradient(at::scaled_dot_product_attention(q, k, v, mask, 0, !mask, 0.2), q);
}

at::Tensor RunMaskedAttention(at::Device device) {
  const at::Tensor all = at::ones({24, 24}, at::TensorOptions(at::kBool).device(device));
  return RunAttention(device, at::tril(all, 3).expand({2, 1, 24, 24}));
}

// One expert has no rows.
at::Tensor RunExperts(at::Device device) {
  const at::Tensor x = Numbers({40, 64}, 1, device).requires_grad_();
  const at::Tensor gate_up = Numbers({4, 64, 64}, 2, device).mul_(0.2);
  const at::Tensor down = Numbers({4, 64, 32}, 3, device).mul_(0.2);
  return WithGradient(ApplyGroupedExperts(x, gate_up, down, {16, 0, 21, 3}), x);
}

absl::Status Failed(std::string_view name, std::string_view what) {
  return absl::FailedPreconditionError(fmt::format(
      "the GPU cannot be trusted: {} {}. Update its driver, use another one, or set the "
      "device to \"cpu\"",
      name, what));
}

}  // namespace

absl::Status RunDeviceTest(const DeviceTest& test, at::Device device) {
  const at::Tensor expected = test.run(at::kCPU).to(at::kFloat);
  at::Tensor actual;
  try {
    actual = test.run(device).to(at::kCPU, at::kFloat);
  } catch (const c10::Error& error) {
    return Failed(test.name, fmt::format("failed ({})", error.what_without_backtrace()));
  }
  const double difference = at::linalg_vector_norm(actual - expected).item<double>();
  const double size = at::linalg_vector_norm(expected).item<double>();
  if (difference <= kTolerance * size) return absl::OkStatus();  // False for NaN, too.
  return Failed(test.name,
                fmt::format("differs from the CPU's by {:.3g} of its size", difference / size));
}

absl::Status TestGpu(at::Device device) {
  const DeviceTest tests[] = {
      {"a linear layer with LoRA", RunLinear},
      {"a norm", RunNorm},
      {"a rotation", RunRotation},
      {"causal attention", [](at::Device where) { return RunAttention(where, std::nullopt); }},
      {"masked attention", RunMaskedAttention},
      {"a grouped product", RunExperts},
  };
  for (const DeviceTest& test : tests) RETURN_IF_ERROR(RunDeviceTest(test, device));
  return absl::OkStatus();
}

}  // namespace fedtune
