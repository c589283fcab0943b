// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/loss.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/full.h"
#include "ATen/ops/log_softmax.h"
#include "ATen/ops/zeros.h"
#include "base/check.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

constexpr int64_t kLogitsInMemory = int64_t{1} << 22;  // 16 MiB in fp32.
constexpr int64_t kFewestRows = 128;                   // But no fewer: products want some.

int64_t RowsInMemory(const Linear& head) {
  return std::max(kFewestRows, kLogitsInMemory / head.weight.size(0));
}

// Calls `use` with the first row and the number of rows of each chunk.
void ForEachChunk(int64_t rows, int64_t size, const std::function<void(int64_t, int64_t)>& use) {
  for (int64_t begin = 0; begin < rows; begin += size) use(begin, std::min(size, rows - begin));
}

at::Tensor ToDevice(std::span<const int64_t> values, at::Device device) {
  const auto size = static_cast<int64_t>(values.size());
  return at::from_blob(const_cast<int64_t*>(values.data()), {size}, at::kLong).to(device);
}

at::Tensor LogLikelihoods(const at::Tensor& hidden, const Linear& head, const LoraFactors& lora) {
  return at::log_softmax(LinearForward(hidden, head, lora).to(at::kFloat), 1);
}

// The loss and its gradients, summed over chunks.
struct LossSum {
  at::Tensor loss;
  std::vector<at::Tensor> hidden;
  at::Tensor a, b;
};

// The factors for the rows from `row` on.
LoraFactors From(int64_t row, LoraFactors lora) {
  lora.dropout.first_row = row;
  return lora;
}

void AddTo(at::Tensor& sum, const at::Tensor& part) {
  if (!part.defined()) return;
  sum = sum.defined() ? sum.add_(part) : part;
}

// Writes the derivatives over the logits, and returns the sum of the losses.
double LossOnCpu(const at::Tensor& logits, const at::Tensor& targets) {
  const int64_t rows = logits.size(0), size = logits.size(1);
  std::vector<double> losses(static_cast<size_t>(rows));
  auto* values = logits.mutable_data_ptr<float>();
  const auto* target = targets.const_data_ptr<int64_t>();
  InParallel(rows, [&](int64_t row) {
    losses[static_cast<size_t>(row)] = LossRow(values + row * size, size, target[row]);
  });
  return std::reduce(losses.begin(), losses.end());
}

// The logits of a chunk become the derivatives by them.
at::Tensor LogitGradients(const at::Tensor& hidden, const at::Tensor& targets, const Linear& head,
                          const LoraFactors& lora, LossSum& sum) {
  if (HaveKernels(hidden, head)) {
    at::Tensor logits = LinearForward(hidden, head, lora);
    sum.loss.add_(LossOnCpu(logits, targets));
    return logits;
  }
  const at::Tensor column = targets.unsqueeze(1);
  at::Tensor log_likelihoods = LogLikelihoods(hidden, head, lora);
  sum.loss.sub_(log_likelihoods.gather(1, column).sum());
  at::Tensor gradient = log_likelihoods.exp_();
  gradient.scatter_add_(1, column, at::full({column.size(0), 1}, -1, gradient.options()));
  return gradient.to(hidden.scalar_type());
}

void AddChunk(const at::Tensor& hidden, const at::Tensor& targets, const Linear& head,
              const LoraFactors& lora, LossSum& sum) {
  const at::Tensor gradient = LogitGradients(hidden, targets, head, lora, sum);
  const LinearGradients gradients =
      LinearBackward(gradient, hidden, head, lora, InputGradient::kCompute);
  sum.hidden.push_back(gradients.x);
  AddTo(sum.a, gradients.a);
  AddTo(sum.b, gradients.b);
}

}  // namespace

std::vector<float> TokenLosses(const at::Tensor& hidden, const Linear& head,
                               const LoraFactors& lora, const Predictions& predictions) {
  at::NoGradGuard no_grad;
  std::vector<float> losses;
  losses.reserve(predictions.size());
  const int64_t vocabulary = head.weight.size(0);
  ForEachChunk(hidden.size(0), RowsInMemory(head), [&](int64_t begin, int64_t count) {
    std::vector<int64_t> places;
    for (size_t i = losses.size(); i < predictions.size(); ++i) {
      if (predictions.rows[i] >= begin + count) break;
      places.push_back((predictions.rows[i] - begin) * vocabulary + predictions.tokens[i]);
    }
    const at::Tensor found = LogLikelihoods(hidden.narrow(0, begin, count), head, lora)
                                 .view(-1)
                                 .index_select(0, ToDevice(places, hidden.device()))
                                 .to(at::kCPU);
    const float* values = found.const_data_ptr<float>();
    for (size_t i = 0; i < places.size(); ++i) losses.push_back(-values[i]);
  });
  Check(losses.size() == predictions.size(), "predictions from rows that do not exist");
  return losses;
}

at::Tensor TokenLossSum(const at::Tensor& hidden, const Linear& head, const LoraFactors& lora,
                        std::span<const int64_t> targets) {
  const at::Tensor tokens = ToDevice(targets, hidden.device());
  LossSum sum;
  {
    at::NoGradGuard no_grad;
    sum.loss = at::zeros({}, hidden.options().dtype(at::kFloat));
    ForEachChunk(hidden.size(0), RowsInMemory(head), [&](int64_t begin, int64_t count) {
      AddChunk(hidden.narrow(0, begin, count), tokens.narrow(0, begin, count), head,
               From(begin, lora), sum);
    });
  }
  std::vector<at::Tensor> gradients = {at::cat(sum.hidden), sum.a, sum.b};
  return Differentiable(sum.loss, {hidden, lora.a, lora.b},
                        [gradients](const std::vector<at::Tensor>& outer) {
                          std::vector<at::Tensor> scaled;
                          for (const at::Tensor& gradient : gradients) {
                            scaled.push_back(gradient.defined() ? gradient * outer[0] : gradient);
                          }
                          return scaled;
                        });
}

}  // namespace fedtune
