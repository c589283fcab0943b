// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/linear.h"

#include <functional>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/allclose.h"
#include "ATen/ops/linspace.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr int64_t kRows = 30, kIn = 24, kRank = 4;

at::Tensor Matrix(int64_t rows, int64_t columns, double seed) {
  return at::linspace(seed, seed + static_cast<double>(rows * columns), rows * columns, at::kDouble)
      .mul_(12.9898)
      .sin_()
      .to(at::kFloat)
      .view({rows, columns});
}

// The first and the last are adapted.
std::vector<AdaptedLinear> Layers() {
  std::vector<AdaptedLinear> layers;
  for (const int64_t out : {40, 7, 16}) {
    const auto seed = static_cast<double>(out);
    layers.push_back({{Matrix(out, kIn, seed), std::ssize(layers)}, {}});
    if (out == 7) continue;
    layers.back().lora.a = Matrix(kRank, kIn, seed + 1).set_requires_grad(true);
    layers.back().lora.b = Matrix(out, kRank, seed + 2).set_requires_grad(true);
    layers.back().lora.scale = 0.5;
  }
  return layers;
}

using Apply = std::function<std::vector<at::Tensor>(const at::Tensor& x,
                                                    const std::vector<AdaptedLinear>& layers)>;

// The results, and the gradients of x and the factors by some sum of those that are used.
std::vector<at::Tensor> Run(const Apply& apply, const std::vector<size_t>& used) {
  const std::vector<AdaptedLinear> layers = Layers();
  const at::Tensor x = Matrix(kRows, kIn, 1).set_requires_grad(true);
  std::vector<at::Tensor> results = apply(x, layers);
  at::Tensor sum = x.sum();
  for (const size_t i : used) sum = sum + (results[i] * Matrix(kRows, results[i].size(1), 2)).sum();
  sum.backward();
  for (at::Tensor& result : results) result = result.detach();
  results.push_back(x.grad());
  for (const AdaptedLinear& layer : layers) {
    results.insert(results.end(), {layer.lora.a, layer.lora.b});
    if (!layer.lora.defined()) continue;
    *(results.end() - 2) = layer.lora.a.grad();
    results.back() = layer.lora.b.grad();
  }
  return results;
}

std::vector<at::Tensor> EachAlone(const at::Tensor& x, const std::vector<AdaptedLinear>& layers) {
  std::vector<at::Tensor> results;
  for (const auto& [linear, lora] : layers) results.push_back(ApplyLinear(x, linear, lora));
  return results;
}

void ExpectWhatEachGivesAlone(const std::vector<size_t>& used) {
  const std::vector<at::Tensor> together = Run(ApplyLinears, used), alone = Run(EachAlone, used);
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    ASSERT_EQ(together[i].defined(), alone[i].defined()) << i;
    if (!alone[i].defined()) continue;
    EXPECT_TRUE(at::allclose(together[i], alone[i], /*rtol=*/1e-4, /*atol=*/1e-4)) << i;
  }
}

TEST(LinearTest, LayersOfTheSameRowsGiveWhatEachGivesAlone) { ExpectWhatEachGivesAlone({0, 1, 2}); }

TEST(LinearTest, ALayerThatNobodyUsedHasNoPartInTheGradients) { ExpectWhatEachGivesAlone({1, 2}); }

}  // namespace
}  // namespace fedtune
