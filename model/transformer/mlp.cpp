// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/mlp.h"

#include <span>

#include "model/transformer/experts.h"

namespace fedtune {

at::Tensor ApplyMlp(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter) {
  return ApplyExpertsInTurn(x, std::span(&weights, 1), adapter, {x.size(0)});
}

}  // namespace fedtune
