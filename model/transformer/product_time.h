// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

namespace fedtune {

// `count` frozen linear layers that `rows` rows go through.
struct LayerShape {
  int64_t count = 1;
  int64_t rows = 0;
  int64_t in_features = 0;
  int64_t out_features = 0;
};

// `count` products of matrices, [rows, depth] by [depth, columns], where the left one may lie
// as [depth, rows] and the right one as [columns, depth].
struct ProductShape {
  int64_t count = 1;
  int64_t rows = 0;
  int64_t depth = 0;
  int64_t columns = 0;
  bool left_is_turned = false;
  bool right_is_turned = false;
};

enum class ProductWeights : bool { kFp32, kBf16 };

struct ProductTimes {
  double wall_seconds = 0;
  double cpu_seconds = 0;  // Of all threads.
};

// For benchmarks: how long the bare products of these layers take on the CPU,
// forwards (x W^T) and for the gradient of x (y W), with LibTorch's kernels, where x
// has the weights' type, or with ours, where it is fp32, whichever take less
// processor time for a shape. Each layer has a weight of its own, as in the model.
ProductTimes TimeLayers(std::span<const LayerShape> shapes, ProductWeights weights);

// The same of products of any other matrices, which have the weights' type, but for left ones
// that are turned in ours: those are fp32. The same matrices for all of a shape.
ProductTimes TimeProducts(std::span<const ProductShape> shapes, ProductWeights weights);

// What this process has used so far.
double ProcessCpuSeconds();

}  // namespace fedtune
