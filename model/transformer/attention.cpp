// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/attention.h"

#include <cmath>
#include <utility>
#include <vector>

#include "ATen/ops/cat.h"
#include "ATen/ops/constant_pad_nd.h"
#include "ATen/ops/scaled_dot_product_attention.h"
#include "model/transformer/attention_heads.h"
#include "model/transformer/cpu_attention.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/gather.h"

namespace fedtune {
namespace {

// [count * length, heads, size] as [count, heads, length, size].
at::Tensor Batched(const at::Tensor& rows, int64_t count, int64_t length) {
  return rows.view({count, length, rows.size(1), rows.size(2)}).transpose(1, 2);
}

// The CPU's fused attention wants values as wide as keys.
at::Tensor AsWideAs(const at::Tensor& keys, const at::Tensor& values) {
  const int64_t missing = keys.size(2) - values.size(2);
  return keys.is_cpu() && missing > 0 ? at::constant_pad_nd(values, {0, missing}) : values;
}

// Attention of one block; `slots` are its queries' heads, `rows` those of the
// whole batch. [slots, heads, value width].
at::Tensor AttendBlock(const AttentionBlock& block, const Heads& slots, const Heads& rows,
                       double scale) {
  const bool causal = !block.mask.defined();
  const at::Tensor k = causal ? slots.k : rows.k.index_select(0, block.key_rows);
  const at::Tensor v = AsWideAs(slots.k, causal ? slots.v : rows.v.index_select(0, block.key_rows));
  const at::Tensor y = at::scaled_dot_product_attention(
      Batched(slots.q, block.count, block.query_length), Batched(k, block.count, block.key_length),
      Batched(v, block.count, block.key_length), causal ? std::optional<at::Tensor>() : block.mask,
      /*dropout_p=*/0, causal, scale);
  return y.transpose(1, 2).reshape({block.slots(), y.size(1), y.size(3)});
}

std::vector<int64_t> SlotCounts(const AttentionPlan& plan) {
  std::vector<int64_t> counts;
  for (const AttentionBlock& block : plan.blocks) counts.push_back(block.slots());
  return counts;
}

at::Tensor AttendSlots(const Heads& rows, const AttentionPlan& plan, double scale) {
  const auto in_slots = [&plan](const at::Tensor& x) {
    return plan.in_order ? x : GatherRows(x, plan.row_of_slot, plan.slot_of_row);
  };
  const Heads slots = {in_slots(rows.q), in_slots(rows.k), in_slots(rows.v)};
  if (plan.blocks.size() == 1) return AttendBlock(plan.blocks[0], slots, rows, scale);
  const std::vector<int64_t> counts = SlotCounts(plan);
  const std::vector<at::Tensor> q = slots.q.split_with_sizes(counts);
  const std::vector<at::Tensor> k = slots.k.split_with_sizes(counts);
  const std::vector<at::Tensor> v = slots.v.split_with_sizes(counts);
  std::vector<at::Tensor> values;
  for (size_t i = 0; i < counts.size(); ++i) {
    values.push_back(AttendBlock(plan.blocks[i], {q[i], k[i], v[i]}, rows, scale));
  }
  return at::cat(values);
}

// By LibTorch's kernels. [rows, heads * width of a value].
at::Tensor AttendByLibrary(const Heads& heads, const AttentionPlan& plan, double scale) {
  at::Tensor values = AttendSlots(heads, plan, scale);
  if (!plan.in_order) values = SelectRows(values, plan.slot_of_row);
  return values.narrow(2, 0, heads.v.size(2)).reshape({heads.q.size(0), -1});
}

}  // namespace

AttentionShape AttentionShapeOf(const ModelConfig& config) {
  AttentionShape shape{.config = config.attention,
                       .heads = config.head_count,
                       .softmax_scale = 1,
                       .pairs = config.rope.pairs};
  if (const auto* mla = std::get_if<MlaConfig>(&config.attention)) {
    shape.softmax_scale =
        config.rope.softmax_factor / std::sqrt(static_cast<double>(mla->qk_head_dim()));
  } else {
    const int64_t width = std::get<GqaConfig>(config.attention).head_dim;
    shape.softmax_scale = 1 / std::sqrt(static_cast<double>(width));
  }
  return shape;
}

at::Tensor AttendedValues(const at::Tensor& x, const AttentionWeights& weights,
                          const AttentionShape& shape, const Adapter& adapter,
                          const AttentionContext& context) {
  const RightType products = FactorTypeOf(weights.o_proj);
  if (const auto* mla = std::get_if<MlaWeights>(&weights.heads)) {
    const LatentHeads latent = MakeLatentHeads(x, *mla, shape, adapter);
    if (CanAttendOnCpu(latent.q, context.plan)) {
      return AttendOnCpu(latent, shape, context, products);
    }
    const Heads heads = AssembleHeads(latent, shape, context.rotations);
    return AttendByLibrary(heads, context.plan, shape.softmax_scale);
  }
  const GqaWeights& gqa = std::get<GqaWeights>(weights.heads);
  const Heads heads = MakeGqaHeads(x, gqa, shape, adapter, context.rotations);
  return CanAttendOnCpu(heads.q, context.plan)
             ? AttendOnCpu(heads, context.plan, shape.softmax_scale, products)
             : AttendByLibrary(heads, context.plan, shape.softmax_scale);
}

}  // namespace fedtune
