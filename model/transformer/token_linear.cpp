// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/token_linear.h"

#include <algorithm>

#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

// Enough of a weight to be read at full speed, and little enough for threads to
// end together.
constexpr int64_t kTaskBytes = 96 * 1024;

int64_t RowsOfTask(const TokenLinear& linear) {
  const int64_t rows = std::max<int64_t>(1, kTaskBytes / linear.weight.bytes_per_row());
  const int64_t tasks = (linear.outputs + rows - 1) / rows;
  return (linear.outputs + tasks - 1) / tasks;
}

}  // namespace

std::optional<TokenLinear> TokenLinear::Of(const Linear& linear, const Adapter& adapter) {
  const std::optional<WeightRows> weight = WeightRowsOf(linear.weight);
  if (!weight) return std::nullopt;
  TokenLinear made = {.weight = *weight,
                      .outputs = linear.weight.size(0),
                      .bias = nullptr,
                      .a = {},
                      .b = {},
                      .rank = 0,
                      .scale = 0};
  if (linear.bias.defined()) made.bias = linear.bias.const_data_ptr<float>();
  const LoraFactors& lora = adapter.Of(linear);
  if (!lora.defined()) return made;
  const std::optional<WeightRows> a = WeightRowsOf(lora.a), b = WeightRowsOf(lora.b);
  if (!a || !b) return std::nullopt;
  made.a = *a;
  made.b = *b;
  made.rank = lora.a.size(0);
  made.scale = static_cast<float>(lora.scale);
  return made;
}

void LinearsTogether::Add(const TokenLinear& linear, const float* x, float* y) {
  layers_.push_back({&linear, x, y, low_count_});
  low_count_ += linear.rank;
}

void LinearsTogether::MakeTasks() {
  tasks_.clear();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const TokenLinear& linear = *layers_[i].linear;
    const int64_t rows = RowsOfTask(linear);
    for (int64_t begin = 0; begin < linear.outputs; begin += rows) {
      tasks_.push_back({i, begin, std::min(rows, linear.outputs - begin)});
    }
  }
}

void LinearsTogether::ComputeLow(const Layer& layer) {
  const TokenLinear& linear = *layer.linear;
  float* low = low_.data() + layer.low;
  MultiplyRows(linear.a, linear.rank, layer.x, low);
  for (int64_t i = 0; i < linear.rank; ++i) low[i] *= linear.scale;
}

void LinearsTogether::Compute(const Task& task) {
  const Layer& layer = layers_[task.layer];
  const TokenLinear& linear = *layer.linear;
  float* y = layer.y + task.begin;
  MultiplyRows(linear.weight.From(task.begin), task.count, layer.x, y);
  if (linear.bias != nullptr) AddScaled(linear.bias + task.begin, 1, task.count, y);
  if (linear.rank == 0) return;
  MultiplyRows(linear.b.From(task.begin), task.count, low_.data() + layer.low, y, /*add=*/true);
}

void LinearsTogether::Run() {
  low_.resize(std::max(low_.size(), static_cast<size_t>(low_count_)));
  const auto compute_low = [this](int64_t i) { ComputeLow(layers_[static_cast<size_t>(i)]); };
  const auto compute = [this](int64_t i) { Compute(tasks_[static_cast<size_t>(i)]); };
  if (low_count_ > 0) InParallel(std::ssize(layers_), compute_low);
  MakeTasks();
  InParallel(std::ssize(tasks_), compute);
  layers_.clear();
  low_count_ = 0;
}

}  // namespace fedtune
