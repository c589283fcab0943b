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
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

// Rows whose scores are computed together.
constexpr int64_t kQueriesTogether = 64;

struct Shape {
  int64_t heads;
  int64_t key_dim;
  int64_t value_dim;
  float scale;
  RightType products;
};

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

// The task's rows of x, [rows, heads, size].
Rows HeadRows(const at::Tensor& x, const HeadTask& task) {
  return {x.mutable_data_ptr<float>() + task.segment.begin * x.stride(0) + task.head * x.stride(1),
          x.stride(0)};
}

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

// y += x^T right, for `count` rows of x and right.
void AddTransposed(Rows x, int64_t columns, const RightFactor& right, int64_t count, int64_t size,
                   Rows y) {
  const LeftFactor left = {x.data, 1, x.stride, nullptr};
  MultiplyOne(left, right, count, {y.data, y.stride, columns, size, /*add=*/true});
}

// Room of this thread's.
struct Scratch {
  std::vector<float> shares, gradients;

  static Scratch& Of(int64_t keys) {
    thread_local Scratch scratch;
    const auto size = static_cast<size_t>(kQueriesTogether * keys);
    if (scratch.shares.size() < size) {
      scratch.shares.resize(size);
      scratch.gradients.resize(size);
    }
    return scratch;
  }
};

// How much of each key's value each row takes.
void MakeShares(const Queries& queries, Rows q, Rows k, const Shape& shape, Rows shares) {
  const int64_t keys = queries.keys();
  MultiplyOne(LeftOf(q.From(queries.begin)), ByColumn(k, shape), shape.key_dim,
              {shares.data, shares.stride, queries.count, keys});
  for (int64_t i = 0; i < queries.count; ++i) {
    SoftmaxRow(shares.From(i).data, queries.begin + i + 1, keys, shape.scale);
  }
}

void ForQueries(const Segment& segment, const std::function<void(const Queries&)>& use) {
  for (int64_t begin = 0; begin < segment.size(); begin += kQueriesTogether) {
    use({begin, std::min(kQueriesTogether, segment.size() - begin)});
  }
}

void Attend(const HeadTask& task, const Heads& heads, const Shape& shape, const at::Tensor& y) {
  const Rows q = HeadRows(heads.q, task), k = HeadRows(heads.k, task);
  const Rows v = HeadRows(heads.v, task), to = HeadRows(y, task);
  float* scratch = Scratch::Of(task.segment.size()).shares.data();
  ForQueries(task.segment, [&](const Queries& queries) {
    const Rows shares = {scratch, queries.keys()};
    MakeShares(queries, q, k, shape, shares);
    const Rows rows = to.From(queries.begin);
    MultiplyOne(LeftOf(shares), ByDepth(v, shape), queries.keys(),
                {rows.data, rows.stride, queries.count, shape.value_dim});
  });
}

void Clear(Rows rows, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; ++i) std::fill_n(rows.From(i).data, size, 0.0F);
}

// The task's part of the gradients of the heads.
void AttendBackward(const HeadTask& task, const Heads& heads, const Shape& shape,
                    const at::Tensor& y_gradient, const Heads& gradients) {
  const int64_t rows = task.segment.size();
  const Rows q = HeadRows(heads.q, task), k = HeadRows(heads.k, task);
  const Rows v = HeadRows(heads.v, task), by_y = HeadRows(y_gradient, task);
  const Rows by_q = HeadRows(gradients.q, task), by_k = HeadRows(gradients.k, task);
  const Rows by_v = HeadRows(gradients.v, task);
  Clear(by_k, rows, shape.key_dim);
  Clear(by_v, rows, gradients.v.size(2));
  Scratch& scratch = Scratch::Of(rows);
  ForQueries(task.segment, [&](const Queries& queries) {
    const int64_t keys = queries.keys(), count = queries.count;
    const Rows shares = {scratch.shares.data(), keys}, by_score = {scratch.gradients.data(), keys};
    const Rows from = by_y.From(queries.begin), to = by_q.From(queries.begin);
    MakeShares(queries, q, k, shape, shares);
    MultiplyOne(LeftOf(from), ByColumn(v, shape), shape.value_dim,
                {by_score.data, by_score.stride, count, keys});
    for (int64_t i = 0; i < count; ++i) {
      SoftmaxRowBackward(shares.From(i).data, keys, shape.scale, by_score.From(i).data);
    }
    MultiplyOne(LeftOf(by_score), ByDepth(k, shape), keys,
                {to.data, to.stride, count, shape.key_dim});
    AddTransposed(by_score, keys, ByDepth(q.From(queries.begin), shape), count, shape.key_dim,
                  by_k);
    AddTransposed(shares, keys, ByDepth(from, shape), count, shape.value_dim, by_v);
  });
}

void ForHeads(const AttentionPlan& plan, int64_t heads,
              const std::function<void(const HeadTask&)>& use) {
  InParallel(std::ssize(plan.segments) * heads, [&](int64_t task) {
    use({plan.segments[static_cast<size_t>(task / heads)], task % heads});
  });
}

}  // namespace

bool CanAttendOnCpu(const Heads& heads, const AttentionPlan& plan) {
  const bool has_kernels = heads.q.is_cpu() && heads.q.scalar_type() == at::kFloat &&
                           heads.q.stride(2) == 1 && heads.k.stride(2) == 1 &&
                           heads.v.stride(2) == 1 && HasMatrixKernels();
  return has_kernels &&
         std::all_of(plan.segments.begin(), plan.segments.end(),
                     [](const Segment& segment) { return segment.prefix_size() == 0; });
}

at::Tensor AttendOnCpu(const Heads& heads, const AttentionPlan& plan, double scale,
                       int64_t value_dim, RightType products) {
  const int64_t rows = heads.q.size(0), count = heads.q.size(1);
  const Shape shape = {count, heads.q.size(2), value_dim, static_cast<float>(scale), products};
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    y = at::empty({rows, count, value_dim}, heads.q.options());
    ForHeads(plan, count, [&](const HeadTask& task) { Attend(task, heads, shape, y); });
    y = y.view({rows, count * value_dim});
  }
  return Differentiable(
      y, {heads.q, heads.k, heads.v}, [heads, plan, shape](const std::vector<at::Tensor>& outer) {
        const at::Tensor by_y = outer[0].contiguous().view({-1, shape.heads, shape.value_dim});
        const Heads gradients = {at::empty_like(heads.q), at::empty_like(heads.k),
                                 at::empty_like(heads.v)};
        ForHeads(plan, shape.heads, [&](const HeadTask& task) {
          AttendBackward(task, heads, shape, by_y, gradients);
        });
        return std::vector<at::Tensor>{gradients.q, gradients.k, gradients.v};
      });
}

}  // namespace fedtune
