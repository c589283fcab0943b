// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_attention.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"
#include "model/transformer/rotary.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

// Rows whose scores are computed together.
constexpr int64_t kQueriesTogether = 64;

// What meets in attention, where it lies: [rows, heads, size].
struct HeadTensors {
  at::Tensor q, k, v;
  at::Tensor shared_key;  // [rows, 1, size], or undefined: a part of all heads' keys, the last.
};

struct Shape {
  int64_t key_dim;  // Of a head's own part.
  int64_t shared_dim;
  int64_t value_dim;
  float scale;
  RightType products;
};

Shape ShapeOf(const HeadTensors& heads, double scale, RightType products) {
  return {heads.k.size(2), heads.shared_key.defined() ? heads.shared_key.size(2) : 0,
          heads.v.size(2), static_cast<float>(scale), products};
}

// One head of one segment.
struct HeadTask {
  const Segment& segment;
  int64_t head;
};

// Some rows of a segment, with the keys they see any of: those from the segment's
// begin to their own end.
struct Queries {
  int64_t begin;  // Within the segment.
  int64_t count;
  int64_t keys() const { return begin + count; }
};

// The task's rows of x, [rows, heads, size], where one head may be all heads'.
Rows RowsOfTask(const at::Tensor& x, const HeadTask& task) {
  if (!x.defined()) return {};
  const int64_t head = x.size(1) == 1 ? 0 : task.head;
  return {x.mutable_data_ptr<float>() + task.segment.begin * x.stride(0) + head * x.stride(1),
          x.stride(0)};
}

struct HeadRows {
  Rows q, k, v, shared_key;
};

HeadRows RowsOfTask(const HeadTensors& heads, const HeadTask& task) {
  return {RowsOfTask(heads.q, task), RowsOfTask(heads.k, task), RowsOfTask(heads.v, task),
          RowsOfTask(heads.shared_key, task)};
}

// By which the last columns of queries get their positions, or their gradients lose them.
struct QueryRotation {
  at::Tensor turns;  // [rows, pairs], contiguous; or undefined.
  RotaryPairs pairs = RotaryPairs::kNeighbours;

  void Apply(const HeadTask& task, const at::Tensor& q, int64_t column) const {
    if (!turns.defined()) return;
    const int64_t half = turns.size(1);
    const Rows rows = RowsOfTask(q, task).FromColumn(column);
    RotateHead({rows.data, rows.stride, task.segment.size()},
               turns.const_data_ptr<c10::complex<float>>() + task.segment.begin * half, half,
               pairs);
  }
};

RightFactor ByColumn(Rows rows, const Shape& shape) {
  return {rows.data, rows.stride, RightOrder::kByColumn, shape.products, nullptr};
}

RightFactor ByDepth(Rows rows, const Shape& shape) {
  return {rows.data, rows.stride, RightOrder::kByDepth, shape.products, nullptr};
}

void MultiplyOne(const LeftFactor& left, const RightFactor& right, int64_t depth,
                 const MatrixResult& result) {
  const MatrixTerm term = {left, right, depth};
  Multiply({&term, 1}, result);
}

// Keys in the two parts that they have.
struct KeyFactors {
  RightFactor own, shared;
};
struct PackedKeys {
  PackedFactor own, shared;
};

// Room of this thread's.
struct Scratch {
  std::vector<float> shares, gradients, pairs;
  PackedKeys keys, keys_by_depth;
  PackedFactor values;

  static Scratch& Of(int64_t keys) {
    thread_local Scratch scratch;
    const auto size = static_cast<size_t>(kQueriesTogether * keys);
    if (scratch.shares.size() < size) {
      scratch.shares.resize(size);
      scratch.gradients.resize(size);
      scratch.pairs.resize(size);
    }
    return scratch;
  }
};

// All of a task's keys, packed once for all its queries.
KeyFactors PackKeys(const HeadRows& rows, RightOrder order, int64_t keys, const Shape& shape,
                    PackedKeys& room) {
  const auto pack = [&](Rows part, int64_t size, PackedFactor& to) {
    return order == RightOrder::kByColumn ? to.Pack(ByColumn(part, shape), size, keys)
                                          : to.Pack(ByDepth(part, shape), keys, size);
  };
  KeyFactors factors = {pack(rows.k, shape.key_dim, room.own), {}};
  if (shape.shared_dim > 0) {
    factors.shared = pack(rows.shared_key, shape.shared_dim, room.shared);
  }
  return factors;
}

// The factor as several products take it, rounded once for all of them if they round.
LeftFactor Ready(const LeftFactor& left, int64_t depth, int64_t rows, const Shape& shape,
                 float* pairs) {
  if (!RoundsLeft(shape.products)) return left;
  PackPairRows(left, depth, rows, pairs, PairsOf(depth));
  return {.pairs = pairs, .pair_stride = PairsOf(depth)};
}

// How much of each key's value each row takes.
void MakeShares(const Queries& queries, Rows all_q, const KeyFactors& by_column, const Shape& shape,
                Rows shares) {
  const int64_t keys = queries.keys();
  const Rows q = all_q.From(queries.begin);
  std::vector<MatrixTerm> terms = {{LeftOf(q), by_column.own, shape.key_dim}};
  if (shape.shared_dim > 0) {
    terms.push_back({LeftOf(q.FromColumn(shape.key_dim)), by_column.shared, shape.shared_dim});
  }
  Multiply(terms, {shares.data, shares.stride, queries.count, keys});
  for (int64_t i = 0; i < queries.count; ++i) {
    SoftmaxRow(shares.From(i).data, queries.begin + i + 1, keys, shape.scale);
  }
}

// The last ones first, which see all keys.
void ForQueries(const Segment& segment, const std::function<void(const Queries&)>& use) {
  const int64_t pieces = (segment.size() + kQueriesTogether - 1) / kQueriesTogether;
  for (int64_t piece = pieces; piece-- > 0;) {
    const int64_t begin = piece * kQueriesTogether;
    use({begin, std::min(kQueriesTogether, segment.size() - begin)});
  }
}

void Attend(const HeadTask& task, const HeadTensors& heads, const Shape& shape,
            const at::Tensor& y) {
  const HeadRows rows = RowsOfTask(heads, task);
  const Rows to = RowsOfTask(y, task);
  const int64_t all = task.segment.size();
  Scratch& scratch = Scratch::Of(all);
  const KeyFactors keys = PackKeys(rows, RightOrder::kByColumn, all, shape, scratch.keys);
  const RightFactor values = scratch.values.Pack(ByDepth(rows.v, shape), all, shape.value_dim);
  ForQueries(task.segment, [&](const Queries& queries) {
    const Rows shares = {scratch.shares.data(), queries.keys()}, y_rows = to.From(queries.begin);
    MakeShares(queries, rows.q, keys, shape, shares);
    MultiplyOne(LeftOf(shares), values, queries.keys(),
                {y_rows.data, y_rows.stride, queries.count, shape.value_dim});
  });
}

// From shares and the gradient of y to that by the scores.
void ScoreGradients(const Queries& queries, const RightFactor& values, const Shape& shape,
                    Rows shares, Rows by_y, Rows by_score) {
  const int64_t keys = queries.keys();
  MultiplyOne(LeftOf(by_y), values, shape.value_dim,
              {by_score.data, by_score.stride, queries.count, keys});
  for (int64_t i = 0; i < queries.count; ++i) {
    SoftmaxRowBackward(shares.From(i).data, keys, shape.scale, by_score.From(i).data);
  }
}

// The gradient by some queries' scores; whether it adds to what keys have, and room for its pairs.
struct ScoreGradient {
  Rows rows;
  bool add;
  float* pairs;
};

// What scores pass on to queries and keys. All keys' gradients are written by the first
// queries to come, and others add to them.
void PassToQueriesAndKeys(const Queries& queries, Rows all_q, const KeyFactors& by_depth,
                          const Shape& shape, const ScoreGradient& from,
                          const HeadRows& gradients) {
  const int64_t keys = queries.keys(), count = queries.count;
  const Rows q = all_q.From(queries.begin), by_q = gradients.q.From(queries.begin);
  const auto each_part = [&](const auto& use) {
    use(0, shape.key_dim, by_depth.own, gradients.k);
    if (shape.shared_dim > 0) {
      use(shape.key_dim, shape.shared_dim, by_depth.shared, gradients.shared_key);
    }
  };
  const LeftFactor scores = Ready(LeftOf(from.rows), keys, count, shape, from.pairs);
  each_part([&](int64_t column, int64_t size, const RightFactor& key, Rows /*by_key*/) {
    MultiplyOne(scores, key, keys, {by_q.FromColumn(column).data, by_q.stride, count, size});
  });
  const LeftFactor transposed =
      Ready({from.rows.data, 1, from.rows.stride, nullptr}, count, keys, shape, from.pairs);
  each_part([&](int64_t column, int64_t size, const RightFactor& /*key*/, Rows by_key) {
    MultiplyOne(transposed, ByDepth(q.FromColumn(column), shape), count,
                {by_key.data, by_key.stride, keys, size, from.add});
  });
}

// The task's part of the gradients of the heads.
void AttendBackward(const HeadTask& task, const HeadTensors& heads, const Shape& shape,
                    const at::Tensor& y_gradient, const HeadTensors& gradients) {
  const HeadRows rows = RowsOfTask(heads, task), to = RowsOfTask(gradients, task);
  const Rows by_y = RowsOfTask(y_gradient, task);
  const int64_t all = task.segment.size();
  Scratch& scratch = Scratch::Of(all);
  const KeyFactors by_column = PackKeys(rows, RightOrder::kByColumn, all, shape, scratch.keys);
  const KeyFactors by_depth =
      PackKeys(rows, RightOrder::kByDepth, all, shape, scratch.keys_by_depth);
  const RightFactor values = scratch.values.Pack(ByColumn(rows.v, shape), shape.value_dim, all);
  ForQueries(task.segment, [&](const Queries& queries) {
    const int64_t keys = queries.keys();
    const bool add = keys < all;
    const Rows shares = {scratch.shares.data(), keys}, by_score = {scratch.gradients.data(), keys};
    const Rows from = by_y.From(queries.begin);
    MakeShares(queries, rows.q, by_column, shape, shares);
    ScoreGradients(queries, values, shape, shares, from, by_score);
    PassToQueriesAndKeys(queries, rows.q, by_depth, shape, {by_score, add, scratch.pairs.data()},
                         to);
    MultiplyOne({shares.data, 1, shares.stride, nullptr}, ByDepth(from, shape), queries.count,
                {to.v.data, to.v.stride, keys, shape.value_dim, add});
  });
}

void ForHeads(const AttentionPlan& plan, int64_t heads,
              const std::function<void(const HeadTask&)>& use) {
  InParallel(std::ssize(plan.segments) * heads, [&](int64_t task) {
    use({plan.segments[static_cast<size_t>(task / heads)], task % heads});
  });
}

// Queries are rotated in place before they meet keys.
at::Tensor Attended(const HeadTensors& heads, const AttentionPlan& plan, const Shape& shape,
                    const QueryRotation& rotation = {}) {
  const int64_t rows = heads.q.size(0), count = heads.q.size(1);
  at::Tensor y = at::empty({rows, count, shape.value_dim}, heads.q.options());
  ForHeads(plan, count, [&](const HeadTask& task) {
    rotation.Apply(task, heads.q, shape.key_dim);
    Attend(task, heads, shape, y);
  });
  return y.view({rows, count * shape.value_dim});
}

void MakeGradients(const HeadTensors& heads, const AttentionPlan& plan, const Shape& shape,
                   const at::Tensor& y_gradient, const HeadTensors& gradients,
                   const QueryRotation& back = {}) {
  const int64_t count = heads.q.size(1);
  const at::Tensor by_y = y_gradient.contiguous().view({-1, count, shape.value_dim});
  ForHeads(plan, count, [&](const HeadTask& task) {
    AttendBackward(task, heads, shape, by_y, gradients);
    back.Apply(task, gradients.q, shape.key_dim);
  });
}

// Latent attention's heads, or the gradients by them.
HeadTensors HeadsOf(const LatentHeads& latent, const at::Tensor& shared_key, int64_t heads,
                    const MlaConfig& mla) {
  const int64_t rows = latent.q.size(0), nope = mla.qk_nope_head_dim;
  const at::Tensor kv = latent.kv.view({rows, heads, nope + mla.v_head_dim});
  return {latent.q.view({rows, heads, mla.qk_head_dim()}), kv.narrow(2, 0, nope),
          kv.narrow(2, nope, mla.v_head_dim), shared_key};
}

// The same with positions in the shared key.
HeadTensors HeadsBefore(const LatentHeads& latent, const AttentionShape& shape,
                        const at::Tensor& rotations) {
  const MlaConfig& mla = std::get<MlaConfig>(shape.config);
  const LatentHeads values = {latent.q.detach(), latent.kv.detach(), {}};
  const at::Tensor key = latent.rotary_key.unsqueeze(1).clone(at::MemoryFormat::Contiguous);
  RotateInPlace(key, rotations, shape.pairs);
  return HeadsOf(values, key, shape.heads, mla);
}

// Gradients of the latent heads.
std::vector<at::Tensor> LatentGradients(const HeadTensors& heads, const AttentionShape& shape,
                                        const Shape& sizes, const AttentionContext& context,
                                        const at::Tensor& y_gradient) {
  const MlaConfig& mla = std::get<MlaConfig>(shape.config);
  const int64_t rows = heads.q.size(0), nope = mla.qk_nope_head_dim, rope = mla.qk_rope_head_dim;
  const auto room = [&](int64_t size) {
    return at::empty({rows, shape.heads * size}, heads.q.options());
  };
  const LatentHeads by = {room(mla.qk_head_dim()), room(nope + mla.v_head_dim), {}};
  const HeadTensors gradients =
      HeadsOf(by, room(rope).view({rows, shape.heads, rope}), shape.heads, mla);
  const at::Tensor back = context.rotations.conj().resolve_conj();
  MakeGradients(heads, context.plan, sizes, y_gradient, gradients, {back, shape.pairs});
  const at::Tensor by_key = gradients.shared_key.sum(1, /*keepdim=*/true);
  RotateInPlace(by_key, back, shape.pairs);
  return {by.q, by.kv, by_key.squeeze(1)};
}

}  // namespace

bool CanAttendOnCpu(const at::Tensor& queries, const AttentionPlan& plan) {
  const bool has_kernels =
      queries.is_cpu() && queries.scalar_type() == at::kFloat && HasMatrixKernels();
  return has_kernels &&
         std::all_of(plan.segments.begin(), plan.segments.end(),
                     [](const Segment& segment) { return segment.prefix_size() == 0; });
}

at::Tensor AttendOnCpu(const Heads& heads, const AttentionPlan& plan, double scale,
                       RightType products) {
  HeadTensors kept;
  Shape shape = {};
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    kept = {heads.q.detach(), heads.k.detach(), heads.v.detach(), {}};
    shape = ShapeOf(kept, scale, products);
    y = Attended(kept, plan, shape);
  }
  return Differentiable(
      y, {heads.q, heads.k, heads.v}, [kept, plan, shape](const std::vector<at::Tensor>& outer) {
        const HeadTensors made = {
            at::empty_like(kept.q), at::empty_like(kept.k), at::empty_like(kept.v), {}};
        MakeGradients(kept, plan, shape, outer[0], made);
        return std::vector<at::Tensor>{made.q, made.k, made.v};
      });
}

at::Tensor AttendOnCpu(const LatentHeads& latent, const AttentionShape& shape,
                       const AttentionContext& context, RightType products) {
  HeadTensors heads;
  Shape sizes = {};
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    heads = HeadsBefore(latent, shape, context.rotations);
    sizes = ShapeOf(heads, shape.softmax_scale, products);
    y = Attended(heads, context.plan, sizes, {context.rotations, shape.pairs});
  }
  return Differentiable(y, {latent.q, latent.kv, latent.rotary_key},
                        [heads, shape, sizes, context](const std::vector<at::Tensor>& outer) {
                          return LatentGradients(heads, shape, sizes, context, outer[0]);
                        });
}

}  // namespace fedtune
