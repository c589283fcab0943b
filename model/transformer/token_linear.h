// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/transformer/adapter.h"
#include "model/transformer/linear.h"
#include "model/transformer/vector_products.h"

namespace fedtune {

// A linear layer with its factors, as one token meets it. Weight and factors must
// outlive it.
struct TokenLinear {
  WeightRows weight;
  int64_t outputs = 0;
  const float* bias = nullptr;  // Null where there is none.
  WeightRows a, b;              // Of the factors; no columns where there are none.
  int64_t rank = 0;
  float scale = 0;

  // None where there is no kernel for the weight.
  static std::optional<TokenLinear> Of(const Linear& linear, const Adapter& adapter);
};

// Layers that are applied together, on all threads, each to one vector. Not
// thread-safe.
//
//   layers.Add(gate, x, gate_values);
//   layers.Add(up, x, up_values);
//   layers.Run();
class LinearsTogether {
 public:
  // y, of linear.outputs values, must not be what another layer reads.
  void Add(const TokenLinear& linear, const float* x, float* y);

  // Applies what was added, and forgets it.
  void Run();

 private:
  // Some rows of one layer.
  struct Task {
    size_t layer;
    int64_t begin;
    int64_t count;
  };
  struct Layer {
    const TokenLinear* linear;
    const float* x;
    float* y;
    int64_t low;  // Where scale * x A^T lies.
  };

  void MakeTasks();
  void ComputeLow(const Layer& layer);
  void Compute(const Task& task);

  std::vector<Layer> layers_;
  std::vector<Task> tasks_;
  std::vector<float> low_;
  int64_t low_count_ = 0;
};

}  // namespace fedtune
