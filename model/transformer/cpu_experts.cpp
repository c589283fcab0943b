// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_experts.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros_like.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

// Slots that go through an expert together: few enough that all threads have
// work, enough that its weights are worth packing.
int64_t SlotsTogether(int64_t slots) {
  constexpr int64_t kAtLeast = 128, kAtMost = 512;
  return std::clamp<int64_t>(slots / (4 * at::get_num_threads()), kAtLeast, kAtMost);
}

// Room for `count` rows, which stays this thread's.
Rows Scratch(int64_t count, int64_t size) {
  thread_local std::vector<float> values;
  values.resize(std::max(values.size(), static_cast<size_t>(count * size)));
  return {values.data(), size};
}

at::TensorOptions Options() { return at::TensorOptions(at::kFloat); }

bool IsTrained(const at::Tensor& factor) { return factor.defined() && factor.requires_grad(); }

}  // namespace

bool CpuExperts::CanCompute(const at::Tensor& x, std::span<const MlpWeights> experts,
                            const Adapter& adapter) {
  constexpr int64_t kFewestRows = 4;  // Fewer are not worth packing the weights.
  if (x.size(0) < kFewestRows || experts.empty() || adapter.drops_inputs()) return false;
  return std::all_of(experts.begin(), experts.end(), [&](const MlpWeights& expert) {
    return HaveKernels(x, expert.gate_proj) && HaveKernels(x, expert.up_proj) &&
           HaveKernels(x, expert.down_proj);
  });
}

bool CpuExperts::Round(std::span<const MlpWeights> experts) {
  return std::all_of(experts.begin(), experts.end(), [](const MlpWeights& expert) {
    return Rounds(expert.gate_proj) && Rounds(expert.up_proj) && Rounds(expert.down_proj);
  });
}

CpuExperts::CpuExperts(at::Tensor x, std::span<const MlpWeights> experts, const Adapter& adapter,
                       Slots slots)
    : rounds_(Round(experts)),
      x_(rounds_ ? Prepared(x, experts[0].gate_proj) : std::move(x)),
      experts_(experts),
      adapter_(&adapter),
      slots_(std::move(slots)) {
  slot_count_ = std::reduce(slots_.counts.begin(), slots_.counts.end());
  const int64_t together = SlotsTogether(slot_count_);
  int64_t begin = 0;
  for (size_t i = 0; i < slots_.counts.size(); begin += slots_.counts[i], ++i) {
    const int64_t count = slots_.counts[i], expert = static_cast<int64_t>(i);
    if (count == 0) continue;
    const int64_t pieces = (count + together - 1) / together;
    if (pieces > 1) cut_.push_back({expert, begin, count});
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t from = count * piece / pieces, to = count * (piece + 1) / pieces;
      tasks_.push_back({expert, begin + from, to - from});
    }
    const Layers layers = LayersOf(expert);
    low_count_ = std::max(low_count_, layers.down.low + RankOf(*layers.down.lora));
  }
}

CpuExperts::Layers CpuExperts::LayersOf(int64_t expert) const {
  const MlpWeights& weights = experts_[static_cast<size_t>(expert)];
  const LoraFactors& gate = adapter_->Of(weights.gate_proj);
  const LoraFactors& up = adapter_->Of(weights.up_proj);
  return {{&weights.gate_proj, &gate, 0},
          {&weights.up_proj, &up, RankOf(gate)},
          {&weights.down_proj, &adapter_->Of(weights.down_proj), RankOf(gate) + RankOf(up)}};
}

std::vector<at::Tensor> CpuExperts::Factors() const {
  std::vector<at::Tensor> factors;
  for (const MlpWeights& expert : experts_) {
    for (const Linear* linear : {&expert.gate_proj, &expert.up_proj, &expert.down_proj}) {
      const LoraFactors& lora = adapter_->Of(*linear);
      factors.insert(factors.end(), {lora.a, lora.b});
    }
  }
  return factors;
}

const int64_t* CpuExperts::IndexOf(const Task& task) const {
  if (!slots_.row_of_slot.defined()) return nullptr;
  return slots_.row_of_slot.const_data_ptr<int64_t>() + task.begin;
}

// Prepared rows, [slots, width].
at::Tensor CpuExperts::RoomOfWidth() const {
  return rounds_ ? at::empty({slot_count_, 2 * PairsOf(width())}, at::kBFloat16)
                 : at::empty({slot_count_, width()}, Options());
}

at::Tensor CpuExperts::Forward() {
  gate_ = RoomOfWidth();
  up_ = RoomOfWidth();
  low_ = at::empty({slot_count_, low_count_}, Options());
  at::Tensor y = at::empty({slot_count_, hidden_size()}, Options());
  const Rows rows = RowsOf(y);
  InParallel(std::ssize(tasks_),
             [&](int64_t task) { ForwardTask(tasks_[static_cast<size_t>(task)], rows); });
  return y;
}

Bf16SwiGlu CpuExperts::RoundedAt(int64_t slot) const {
  const auto row = [slot](const at::Tensor& values) -> uint16_t* {
    if (!values.defined()) return nullptr;
    return static_cast<uint16_t*>(values.mutable_data_ptr()) + slot * values.stride(0);
  };
  return {row(gate_), row(up_), row(hidden_)};
}

// Of a task's rows, which it prepares for what takes them later.
void CpuExperts::MakeHidden(const Task& task, Rows gate, Rows up, Rows hidden) {
  const Bf16Rows rounded = Bf16Rows::Within(hidden);
  for (int64_t i = 0; i < task.count; ++i) {
    if (rounds_) {
      Bf16SwiGlu to = RoundedAt(task.begin + i);
      to.hidden = rounded.From(i).data;
      SwiGluInBf16(gate.From(i).data, up.From(i).data, width(), to);
    } else {
      SwiGlu(gate.From(i).data, up.From(i).data, width(), hidden.From(i).data);
    }
  }
}

void CpuExperts::ForwardTask(const Task& task, Rows y) {
  const Layers layers = LayersOf(task.expert);
  const Rows scratch = Scratch((rounds_ ? 3 : 1) * task.count, width());
  const Rows hidden = scratch.From(0);
  const Rows gate = rounds_ ? scratch.From(task.count) : RowsOf(gate_).From(task.begin);
  const Rows up = rounds_ ? scratch.From(2 * task.count) : RowsOf(up_).From(task.begin);
  const Rows low = RowsOf(low_).From(task.begin);
  thread_local GatheredRows gathered;
  const LeftFactor x =
      gathered.Of(LeftOf(x_, task.begin, IndexOf(task)), hidden_size(), task.count);
  const auto apply = [&](const Layer& layer, const LeftFactor& inputs, Rows outputs) {
    ForwardRows(*layer.linear, *layer.lora, inputs, task.count, low.FromColumn(layer.low), outputs);
  };
  apply(layers.gate, x, gate);
  apply(layers.up, x, up);
  MakeHidden(task, gate, up, hidden);
  apply(layers.down, rounds_ ? LeftOf(Bf16Rows::Within(hidden)) : LeftOf(hidden),
        y.From(task.begin));
}

CpuExperts::Gradients CpuExperts::Backward(const at::Tensor& by_y, const at::Tensor& weights,
                                           InputGradient input_gradient) {
  Gradients gradients;
  const at::Tensor y_gradient = rounds_ ? Prepared(by_y, experts_[0].down_proj) : by_y;
  hidden_ = RoomOfWidth();
  low_gradient_ = at::empty_like(low_);
  if (weights.defined()) gradients.weights = at::empty({slot_count_}, Options());
  if (input_gradient == InputGradient::kCompute) {
    gradients.slots = at::empty({slot_count_, hidden_size()}, Options());
  }
  const std::vector<FactorGradients> made = RoomForGradients();
  const auto make = [&](const Task& slots, int64_t part) {
    FactorGradientTask(slots, part, y_gradient, made[static_cast<size_t>(slots.expert)]);
  };
  InParallel(std::ssize(tasks_), [&](int64_t index) {
    const Task& task = tasks_[static_cast<size_t>(index)];
    BackwardTask(task, y_gradient, weights, gradients);
    if (task.count < slots_.counts[static_cast<size_t>(task.expert)]) return;
    for (int64_t part = 0; part < kFactorParts; ++part) make(task, part);  // Its rows are near.
  });
  InParallel(kFactorParts * std::ssize(cut_), [&](int64_t task) {
    make(cut_[static_cast<size_t>(task / kFactorParts)], task % kFactorParts);
  });
  gradients.factors = InOrder(made);
  return gradients;
}

// From the gradient by `hidden` of a slot to those by gate and up; returns that by the
// slot's weight.
float CpuExperts::SwiGluGradients(int64_t slot, float weight, const float* h_gradient) {
  if (rounds_) return SwiGluBackwardInBf16(h_gradient, weight, width(), RoundedAt(slot));
  const auto row = [slot](const at::Tensor& values) { return RowsOf(values).From(slot).data; };
  return SwiGluBackward(h_gradient, weight, width(), row(gate_), row(up_), row(hidden_));
}

// The same for a task's slots, with what the weights change.
void CpuExperts::WeighSlots(const Task& task, const Layer& down, const at::Tensor& weights,
                            Rows h_gradient, const Gradients& gradients) {
  const Rows low = RowsOf(low_).From(task.begin).FromColumn(down.low);
  const Rows low_gradient = RowsOf(low_gradient_).From(task.begin).FromColumn(down.low);
  const float* weight = weights.defined() ? weights.const_data_ptr<float>() + task.begin : nullptr;
  constexpr int64_t kSlotsAhead = 8;
  for (int64_t i = 0; i < task.count; ++i) {
    __builtin_prefetch(low.From(i + kSlotsAhead).data);
    const float by_weight =
        SwiGluGradients(task.begin + i, weight ? weight[i] : 1, h_gradient.From(i).data);
    if (weight == nullptr) continue;
    gradients.weights.mutable_data_ptr<float>()[task.begin + i] = by_weight;
    Scale(weight[i], RankOf(*down.lora), low.From(i).data);
    Scale(weight[i], RankOf(*down.lora), low_gradient.From(i).data);
  }
}

void CpuExperts::BackwardTask(const Task& task, const at::Tensor& y_gradient,
                              const at::Tensor& weights, const Gradients& gradients) {
  const Layers layers = LayersOf(task.expert);
  const Rows low_gradient = RowsOf(low_gradient_).From(task.begin);
  std::vector<MatrixTerm> terms;
  const auto append = [&](const Layer& layer, const LeftFactor& gradient) {
    const Rows low = low_gradient.FromColumn(layer.low);
    if (layer.lora->defined()) {
      LowGradientRows(*layer.linear, *layer.lora, gradient, task.count, low);
    }
    AppendInputTerms(*layer.linear, *layer.lora, gradient, low, terms);
  };
  thread_local GatheredRows gathered;
  append(layers.down,
         gathered.Of(LeftOf(y_gradient, task.begin, IndexOf(task)), hidden_size(), task.count));
  const Rows h_gradient = Scratch(task.count, width());
  Multiply(terms, {h_gradient.data, h_gradient.stride, task.count, width()});
  WeighSlots(task, layers.down, weights, h_gradient, gradients);
  terms.clear();
  append(layers.gate, LeftOf(gate_, task.begin));
  append(layers.up, LeftOf(up_, task.begin));
  if (!gradients.slots.defined()) return;
  const Rows slots = RowsOf(gradients.slots).From(task.begin);
  Multiply(terms, {slots.data, slots.stride, task.count, hidden_size()});
}

std::vector<CpuExperts::FactorGradients> CpuExperts::RoomForGradients() const {
  const auto room = [](const at::Tensor& factor) {
    return IsTrained(factor) ? at::empty_like(factor) : at::Tensor();
  };
  const auto trained_rank = [](const Layer& layer) {
    return IsTrained(layer.lora->a) ? RankOf(*layer.lora) : 0;
  };
  std::vector<FactorGradients> by_expert(experts_.size());
  for (size_t i = 0; i < experts_.size(); ++i) {
    if (slots_.counts[i] == 0) continue;
    const Layers layers = LayersOf(static_cast<int64_t>(i));
    const int64_t gate = trained_rank(layers.gate);
    by_expert[i] = {at::empty({gate + trained_rank(layers.up), hidden_size()}, Options()),
                    gate,
                    room(layers.down.lora->a),
                    room(layers.gate.lora->b),
                    room(layers.up.lora->b),
                    room(layers.down.lora->b)};
  }
  return by_expert;
}

std::vector<at::Tensor> CpuExperts::InOrder(const std::vector<FactorGradients>& by_expert) const {
  std::vector<at::Tensor> gradients(kFactorsOfExpert * experts_.size());
  for (size_t i = 0; i < by_expert.size(); ++i) {
    if (slots_.counts[i] == 0) continue;
    at::Tensor* own = &gradients[kFactorsOfExpert * i];
    const FactorGradients& from = by_expert[i];
    const int64_t gate = from.gate_rank, up = from.gate_and_up_a.size(0) - gate;
    if (gate > 0) own[0] = from.gate_and_up_a.narrow(0, 0, gate);
    if (up > 0) own[2] = from.gate_and_up_a.narrow(0, gate, up);
    own[1] = from.gate_b, own[3] = from.up_b, own[4] = from.down_a, own[5] = from.down_b;
  }
  return gradients;
}

void CpuExperts::FactorGradientTask(const Task& slots, int64_t part, const at::Tensor& y_gradient,
                                    const FactorGradients& to) {
  const Layers layers = LayersOf(slots.expert);
  const auto inputs = [&](const at::Tensor& prepared) {
    return RightOf(prepared, slots.begin, IndexOf(slots));
  };
  const auto low = [&](const at::Tensor& values, const Layer& layer) {
    return RowsOf(values).From(slots.begin).FromColumn(layer.low);
  };
  const auto of_a = [&](const Layer& first, const RightFactor& x, const at::Tensor& a) {
    if (!a.defined() || a.numel() == 0) return;
    GradientOfA(low(low_gradient_, first), x, slots.count, {0, a.size(1)}, a);
  };
  const auto of_b = [&](const Layer& layer, const RightFactor& by_y, const at::Tensor& b) {
    if (b.defined()) GradientOfB(low(low_, layer), by_y, slots.count, {0, b.size(0)}, b);
  };
  switch (part) {
    case 0:
      return of_a(to.gate_rank > 0 ? layers.gate : layers.up, inputs(x_), to.gate_and_up_a);
    case 1:
      return of_a(layers.down, RightOf(hidden_, slots.begin), to.down_a);
    case 2:
      return of_b(layers.gate, RightOf(gate_, slots.begin), to.gate_b);
    case 3:
      return of_b(layers.up, RightOf(up_, slots.begin), to.up_b);
    default:
      return of_b(layers.down, inputs(y_gradient), to.down_b);
  }
}

}  // namespace fedtune
