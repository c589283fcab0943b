// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/model.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/ops/embedding.h"
#include "ATen/ops/from_blob.h"
#include "base/check.h"
#include "base/overloaded.h"
#include "model/transformer/gather.h"
#include "model/transformer/recomputation.h"
#include "model/transformer/rms_norm.h"
#include "model/transformer/rotary.h"

namespace fedtune {
namespace {

at::Tensor ToDevice(std::span<const int64_t> values, at::Device device) {
  return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::kLong)
      .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

AttentionContext ContextOf(const Model& model, const PackedBatch& batch) {
  return {PlanAttention(batch, model.device()),
          Rotations(ToDevice(batch.positions(), model.device()), model.rotary_frequencies,
                    model.config.rope.Magnitude())};
}

// What goes from layer to layer: a sum whose last part is added where it is normed next.
struct Stream {
  at::Tensor x;
  at::Tensor change;  // Or undefined.

  at::Tensor Sum() const { return change.defined() ? x + change : x; }
  NormedSum Normed(const at::Tensor& weight, double epsilon) const {
    return change.defined() ? AddAndNorm(x, change, weight, epsilon)
                            : NormedSum{x, RmsNorm(x, weight, epsilon)};
  }
};

// One layer. Behind the attention only `wanted` rows are computed, if given:
// in the last layer nobody needs the others.
Stream ApplyLayer(Stream stream, const DecoderLayer& layer, const Model& model,
                  const Adapter& adapter, const AttentionContext& context, const at::Tensor& wanted,
                  std::span<int64_t> routed) {
  const double epsilon = model.config.rms_norm_epsilon;
  auto [x, normed] = std::exchange(stream, {}).Normed(layer.attention_norm, epsilon);
  at::Tensor values = AttendedValues(std::exchange(normed, {}), layer.attention,
                                     AttentionShapeOf(model.config), adapter, context);
  if (wanted.defined()) {
    x = SelectRows(x, wanted);
    values = SelectRows(values, wanted);
  }
  const Linear& o_proj = layer.attention.o_proj;
  const Stream attended = {x, ApplyLinear(values, o_proj, adapter.Of(o_proj))};
  NormedSum sum = attended.Normed(layer.mlp_norm, epsilon);
  return {sum.sum, ApplyFeedForward(sum.normed, layer, model, adapter, routed)};
}

// What of the adapter changes a layer; undefined where a part is not adapted.
class LayerFactors {
 public:
  LayerFactors(const DecoderLayer& layer, const Adapter& adapter) : adapter_(adapter) {
    std::visit([this](const auto& heads) { Add(heads); }, layer.attention.heads);
    Add(layer.attention.o_proj);
    std::visit([this](const auto& mlp) { Add(mlp); }, layer.mlp);
  }

  std::vector<at::Tensor> Take() && { return std::move(factors_); }

 private:
  void Add(const Linear& linear) {
    const LoraFactors& lora = adapter_.Of(linear);
    factors_.insert(factors_.end(), {lora.a, lora.b});
  }
  template <typename T>
  void Add(const std::optional<T>& part) {
    if (part) Add(*part);
  }
  void Add(const MlaWeights& mla) {
    for (const auto* linear : {&mla.q_proj, &mla.q_a_proj, &mla.q_b_proj}) Add(*linear);
    for (const Linear* linear : {&mla.kv_a_proj, &mla.kv_b_proj}) Add(*linear);
  }
  void Add(const GqaWeights& gqa) {
    for (const Linear* linear : {&gqa.q_proj, &gqa.k_proj, &gqa.v_proj}) Add(*linear);
  }
  void Add(const MlpWeights& mlp) {
    for (const Linear* linear : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) Add(*linear);
  }
  void Add(const MoeWeights& moe) {
    Add(moe.gate);
    for (const MlpWeights& expert : moe.experts) Add(expert);
    Add(moe.shared);
  }

  const Adapter& adapter_;
  std::vector<at::Tensor> factors_;
};

bool HasRoutedExperts(const DecoderLayer& layer) {
  return std::holds_alternative<MoeWeights>(layer.mlp);
}

// The counters of `layer`, from the front of those of it and the layers behind it.
std::span<int64_t> TakeCounters(const DecoderLayer& layer, const Model& model,
                                std::span<int64_t>& rest) {
  if (rest.empty() || !HasRoutedExperts(layer)) return {};
  const auto count = static_cast<size_t>(model.config.moe.routed_expert_count);
  const std::span<int64_t> counters = rest.first(count);
  rest = rest.subspan(count);
  return counters;
}

}  // namespace

at::Tensor ApplyFeedForward(const at::Tensor& x, const DecoderLayer& layer, const Model& model,
                            const Adapter& adapter, std::span<int64_t> routed) {
  return std::visit(Overloaded{[&](const MlpWeights& mlp) { return ApplyMlp(x, mlp, adapter); },
                               [&](const MoeWeights& moe) {
                                 return ApplyMoe(x, moe, model.config.moe, adapter, routed);
                               }},
                    layer.mlp);
}

int64_t Model::routed_layer_count() const {
  return std::count_if(layers.begin(), layers.end(), HasRoutedExperts);
}

at::Tensor HiddenStates(const Model& model, const Adapter& adapter, const PackedBatch& batch,
                        std::span<const int64_t> wanted_rows, std::span<int64_t> routed,
                        int64_t recomputed_layers) {
  Check(routed.empty() ||
            std::ssize(routed) == model.routed_layer_count() * model.config.moe.routed_expert_count,
        "a counter for each routed expert");
  const auto context = std::make_shared<const AttentionContext>(ContextOf(model, batch));
  const at::Tensor wanted = ToDevice(wanted_rows, model.device());
  Stream stream = {at::embedding(model.embedding, ToDevice(batch.tokens(), model.device()))
                       .to(model.compute_type),
                   {}};
  for (const DecoderLayer& layer : model.layers) {
    const at::Tensor rows = &layer == &model.layers.back() ? wanted : at::Tensor();
    const auto apply = [&layer, &model, &adapter, context, rows](Stream input,
                                                                 std::span<int64_t> counters) {
      return ApplyLayer(std::move(input), layer, model, adapter, *context, rows, counters);
    };
    const std::span<int64_t> counters = TakeCounters(layer, model, routed);
    if (recomputed_layers-- > 0) {
      const at::Tensor x = stream.Sum();
      stream = {Recomputed(apply({x, {}}, counters).Sum(), x, LayerFactors(layer, adapter).Take(),
                           [apply](const at::Tensor& again) {
                             return apply({again, {}}, {}).Sum();
                           }),
                {}};
    } else {
      stream = apply(std::exchange(stream, {}), counters);
    }
  }
  return stream.Normed(model.norm, model.config.rms_norm_epsilon).normed;
}

}  // namespace fedtune
