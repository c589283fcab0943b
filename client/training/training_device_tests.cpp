// SPDX-License-Identifier: Apache-2.0

#include "client/training/training_device_tests.h"

#include "client/training/optimizer.h"

namespace fedtune {
namespace {

constexpr double kOfFp32 = 1e-5;

// Three steps, with gradients that are clipped.
std::vector<at::Tensor> RunOptimizer(LocalOptimizer kind, at::Device device) {
  const at::Tensor values = TestNumbers({500}, 1, device, at::kFloat);
  const at::Tensor gradients = TestNumbers({500}, 2, device, at::kFloat);
  Optimizer optimizer({values, gradients},
                      {.kind = kind, .weight_decay = 0.1, .max_gradient_norm = 1});
  for (int step = 0; step < 3; ++step) {
    gradients.copy_(TestNumbers({500}, 2 + step, device, at::kFloat));
    optimizer.Step(0.1);
  }
  return {values, gradients};
}

}  // namespace

std::vector<DeviceTest> TrainingDeviceTests() {
  return {
      {"a step of AdamW",
       [](at::Device device) { return RunOptimizer(LocalOptimizer::kAdamW, device); }, kOfFp32},
      {"a step of gradient descent",
       [](at::Device device) { return RunOptimizer(LocalOptimizer::kSgd, device); }, kOfFp32},
  };
}

}  // namespace fedtune
