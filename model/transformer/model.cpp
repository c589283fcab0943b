// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/model.h"

#include <algorithm>

#include "ATen/TensorOperators.h"
#include "ATen/ops/embedding.h"
#include "ATen/ops/from_blob.h"
#include "base/check.h"
#include "base/overloaded.h"
#include "model/transformer/gather.h"
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

// One layer. Behind the attention only `wanted` rows are computed, if given:
// in the last layer nobody needs the others.
at::Tensor ApplyLayer(at::Tensor x, const DecoderLayer& layer, const Model& model,
                      const Adapter& adapter, const AttentionContext& context,
                      const at::Tensor& wanted, std::span<int64_t> routed) {
  const double epsilon = model.config.rms_norm_epsilon;
  at::Tensor values = AttendedValues(RmsNorm(x, layer.attention_norm, epsilon), layer.attention,
                                     AttentionShapeOf(model.config), adapter, context);
  if (wanted.defined()) {
    x = SelectRows(x, wanted);
    values = SelectRows(values, wanted);
  }
  const Linear& o_proj = layer.attention.o_proj;
  x = x + ApplyLinear(values, o_proj, adapter.Of(o_proj));
  return x + ApplyFeedForward(RmsNorm(x, layer.mlp_norm, epsilon), layer, model, adapter, routed);
}

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
                        std::span<const int64_t> wanted_rows, std::span<int64_t> routed) {
  Check(routed.empty() ||
            std::ssize(routed) == model.routed_layer_count() * model.config.moe.routed_expert_count,
        "a counter for each routed expert");
  const AttentionContext context = ContextOf(model, batch);
  const at::Tensor wanted = ToDevice(wanted_rows, model.device());
  at::Tensor x = at::embedding(model.embedding, ToDevice(batch.tokens(), model.device()))
                     .to(model.compute_type);
  for (const DecoderLayer& layer : model.layers) {
    const bool is_last = &layer == &model.layers.back();
    x = ApplyLayer(x, layer, model, adapter, context, is_last ? wanted : at::Tensor(),
                   TakeCounters(layer, model, routed));
  }
  return RmsNorm(x, model.norm, model.config.rms_norm_epsilon);
}

}  // namespace fedtune
