// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "plan/plan.h"

namespace fedtune {

// How parameters follow their gradients, all in flat fp32 tensors.
//
// AdamW (Loshchilov and Hutter, 2019) with beta 0.9 and 0.999, epsilon 1e-8 and
// no state from earlier rounds; or plain gradient descent.
class Optimizer {
 public:
  // Both tensors are changed in place by the steps and must be of one shape.
  struct Parameters {
    at::Tensor values;
    at::Tensor gradients;
  };
  struct Options {
    LocalOptimizer kind = LocalOptimizer::kAdamW;
    double weight_decay = 0;
    double max_gradient_norm = 0;  // 0: gradients are not clipped.
  };

  // What steps leave behind besides the parameters; empty without AdamW.
  struct Moments {
    std::vector<float> first;
    std::vector<float> second;
  };

  Optimizer(Parameters parameters, const Options& options);

  // Goes on as one that has made so many steps. Requires: the moments are those of
  // StoreMoments() of one with as many parameters and the same options.
  void Resume(int64_t steps, const std::vector<float>& first, const std::vector<float>& second);

  Moments StoreMoments() const;

  // One step; the gradients are zero afterwards.
  void Step(double learning_rate);

 private:
  double ClippingFactor() const;  // Of the gradients.
  void StepAdamWOnCpu(double learning_rate, double gradient_factor);
  void StepAdamW(double learning_rate);

  const Parameters parameters_;
  const Options options_;
  at::Tensor first_moment_;
  at::Tensor second_moment_;
  int64_t steps_ = 0;
};

}  // namespace fedtune
