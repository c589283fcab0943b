// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/model.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/embedding.h"
#include "ATen/ops/from_blob.h"
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
  const double factor = model.config.rope.yarn ? model.config.rope.yarn->RotaryFactor() : 1;
  return {PlanAttention(batch, model.device()),
          Rotations(ToDevice(batch.positions(), model.device()), model.rotary_frequencies, factor)};
}

at::Tensor ApplyMlpOrMoe(const at::Tensor& x, const DecoderLayer& layer, const Model& model,
                         const Adapter& adapter) {
  return std::visit(Overloaded{[&](const MlpWeights& mlp) { return ApplyMlp(x, mlp, adapter); },
                               [&](const MoeWeights& moe) {
                                 return ApplyMoe(x, moe, model.config.moe, adapter);
                               }},
                    layer.mlp);
}

// One layer. Behind the attention only `wanted` rows are computed, if given:
// in the last layer nobody needs the others.
at::Tensor ApplyLayer(at::Tensor x, const DecoderLayer& layer, const Model& model,
                      const Adapter& adapter, const AttentionContext& context,
                      const at::Tensor& wanted) {
  const double epsilon = model.config.rms_norm_epsilon;
  at::Tensor values = AttendedValues(RmsNorm(x, layer.attention_norm, epsilon), layer.attention,
                                     AttentionShapeOf(model.config), adapter, context);
  if (wanted.defined()) {
    x = SelectRows(x, wanted);
    values = SelectRows(values, wanted);
  }
  const Linear& o_proj = layer.attention.o_proj;
  x = x + ApplyLinear(values, o_proj, adapter.Of(o_proj));
  return x + ApplyMlpOrMoe(RmsNorm(x, layer.mlp_norm, epsilon), layer, model, adapter);
}

}  // namespace

at::Tensor HiddenStates(const Model& model, const Adapter& adapter, const PackedBatch& batch,
                        std::span<const int64_t> wanted_rows) {
  const AttentionContext context = ContextOf(model, batch);
  const at::Tensor wanted = ToDevice(wanted_rows, model.device());
  at::Tensor x = at::embedding(model.embedding, ToDevice(batch.tokens(), model.device()))
                     .to(model.compute_type);
  for (const DecoderLayer& layer : model.layers) {
    const bool is_last = &layer == &model.layers.back();
    x = ApplyLayer(x, layer, model, adapter, context, is_last ? wanted : at::Tensor());
  }
  return RmsNorm(x, model.norm, model.config.rms_norm_epsilon);
}

}  // namespace fedtune
