// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/mlp.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {

// Experts, or one MLP, on a CPU with matrix kernels. Each expert takes its rows
// from where they lie, and what is between its layers stays in the cache.
class CpuExperts {
 public:
  // counts[i] slots are the i-th expert's, one behind the other. A slot takes the
  // row that the index says, and the slot's own without one.
  struct Slots {
    std::vector<int64_t> counts;
    at::Tensor row_of_slot;  // int64, contiguous.
  };

  // Whether there are kernels for x and all weights, and rows enough to be worth it.
  // There are none with dropout.
  static bool CanCompute(const at::Tensor& x, std::span<const MlpWeights> experts,
                         const Adapter& adapter);

  // Whether all of their layers round what they take.
  static bool Round(std::span<const MlpWeights> experts);

  // Experts and adapter must outlive it. x is contiguous, and may be prepared if they all round.
  CpuExperts(at::Tensor x, std::span<const MlpWeights> experts, const Adapter& adapter,
             Slots slots);

  // What the experts make of x: [slots, hidden].
  at::Tensor Forward();

  // Undefined where not asked for.
  struct Gradients {
    at::Tensor slots;                 // [slots, hidden]: by x, of each slot alone.
    at::Tensor weights;               // [slots]
    std::vector<at::Tensor> factors;  // In the order of Factors().
  };

  // Given the gradient by y, [rows, hidden], which is the sum of each row's slots
  // times their weights, fp32, or of the slots themselves without weights. It may be
  // prepared, as x. Behind Forward(), once.
  Gradients Backward(const at::Tensor& y_gradient, const at::Tensor& weights,
                     InputGradient input_gradient);

  // Of each expert gate, up, down and A before B; undefined where there are none.
  std::vector<at::Tensor> Factors() const;

 private:
  // Some slots of one expert, which go through it together.
  struct Task {
    int64_t expert;
    int64_t begin;
    int64_t count;
  };

  // One layer of an expert, and where its low-rank values are among a slot's.
  struct Layer {
    const Linear* linear;
    const LoraFactors* lora;
    int64_t low;
  };
  struct Layers {
    Layer gate, up, down;
  };

  static constexpr size_t kFactorsOfExpert = 6;

  // The gradients of an expert's factors, undefined where not asked for. Those of A of
  // gate and up, whose layers take the same rows, are made together.
  struct FactorGradients {
    at::Tensor gate_and_up_a;  // Of the ranks of both.
    int64_t gate_rank = 0;
    at::Tensor down_a, gate_b, up_b, down_b;
  };
  static constexpr int64_t kFactorParts = 5;

  Layers LayersOf(int64_t expert) const;
  int64_t width() const { return experts_[0].gate_proj.weight.size(0); }
  int64_t hidden_size() const { return experts_[0].gate_proj.weight.size(1); }
  const int64_t* IndexOf(const Task& task) const;

  at::Tensor RoomOfWidth() const;
  Bf16SwiGlu RoundedAt(int64_t slot) const;
  void ForwardTask(const Task& task, Rows y);
  void MakeHidden(const Task& task, Rows gate, Rows up, Rows hidden);
  void BackwardTask(const Task& task, const at::Tensor& y_gradient, const at::Tensor& weights,
                    const Gradients& gradients);
  float SwiGluGradients(int64_t slot, float weight, const float* h_gradient);
  void WeighSlots(const Task& task, const Layer& down, const at::Tensor& weights, Rows h_gradient,
                  const Gradients& gradients);
  std::vector<FactorGradients> RoomForGradients() const;
  void FactorGradientTask(const Task& slots, int64_t part, const at::Tensor& y_gradient,
                          const FactorGradients& to);
  std::vector<at::Tensor> InOrder(const std::vector<FactorGradients>& by_expert) const;

  const bool rounds_;   // All layers do, so that rows are prepared for all of them.
  const at::Tensor x_;  // Prepared.
  const std::span<const MlpWeights> experts_;
  const Adapter* adapter_;
  Slots slots_;
  std::vector<Task> tasks_;  // All slots of an expert, or some.
  std::vector<Task> cut_;    // All slots of each expert that has several tasks.
  int64_t slot_count_ = 0;
  int64_t low_count_ = 0;
  at::Tensor gate_, up_;  // [slots, width], prepared; in the end their gradients.
  at::Tensor low_;        // [slots, low_count_]: scale * x A^T of gate, up and down.
  at::Tensor hidden_;     // As gate_, while gradients are computed.
  at::Tensor low_gradient_;
};

}  // namespace fedtune
