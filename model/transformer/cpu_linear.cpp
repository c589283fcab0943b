// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_linear.h"

#include <algorithm>
#include <functional>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

bool HaveKernelsFor(const at::Tensor& weight) {
  const at::ScalarType type = weight.scalar_type();
  return (type == at::kFloat || type == at::kBFloat16) && weight.is_contiguous();
}

RightType TypeOf(const Linear& linear) {
  if (linear.weight.scalar_type() == at::kFloat) return RightType::kFp32;
  return linear.rounds_inputs && HasBf16Kernels() ? RightType::kBf16ByBf16 : RightType::kBf16;
}

// A weight or factor, [out, in], as what rows of `in` values are multiplied with.
RightFactor Forwards(const at::Tensor& weight, RightType type = RightType::kFp32) {
  return {weight.const_data_ptr(), weight.size(1), RightOrder::kByColumn, type, nullptr};
}

// The same for rows of `out` values.
RightFactor Backwards(const at::Tensor& weight, RightType type = RightType::kFp32) {
  return {weight.const_data_ptr(), weight.size(1), RightOrder::kByDepth, type, nullptr};
}

void ScaleRows(double factor, int64_t count, int64_t size, Rows rows) {
  for (int64_t i = 0; i < count; ++i) {
    Scale(static_cast<float>(factor), size, rows.From(i).data);
  }
}

Bf16Rows Bf16RowsOf(const at::Tensor& x) {
  return {static_cast<uint16_t*>(x.mutable_data_ptr()), x.stride(0)};
}

// left^T right, for `count` rows of each.
void TransposedProduct(Rows left, const RightFactor& right, int64_t count,
                       const MatrixResult& result) {
  const LeftFactor transposed = {left.data, 1, left.stride, nullptr};
  const MatrixTerm term = {transposed, right, count};
  Multiply({&term, 1}, result);
}

// Rows that a task takes, as many as make packing the weight worth it.
int64_t RowsOfTask(int64_t rows) {
  constexpr int64_t kAtLeast = 128, kAtMost = 512;
  const int64_t tasks = 2 * at::get_num_threads();
  return std::clamp((rows + tasks - 1) / tasks, kAtLeast, kAtMost);
}

// Calls `work` with the first row and the number of rows of each task.
void ForRows(int64_t rows, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t size = RowsOfTask(rows);
  InParallel((rows + size - 1) / size,
             [&](int64_t task) { work(task * size, std::min(size, rows - task * size)); });
}

// Calls `work` with parts of a result for which every thread finds some to do. Rows are cut into
// as many as make packing the weight worth it, and columns, for which it is packed once in all,
// where those are too few; not where each task has to make what all columns of its rows take.
struct ResultSize {
  int64_t rows;
  int64_t columns;
};
void ForParts(const ResultSize& result, bool cuts_columns,
              const std::function<void(int64_t, int64_t, ColumnRange)>& work) {
  if (result.rows == 0 || !cuts_columns) {
    return ForRows(result.rows, [&](int64_t begin, int64_t count) {
      work(begin, count, {0, result.columns});
    });
  }
  constexpr int64_t kMostRows = 512, kFewestColumns = 2 * kPanelColumns;
  const int64_t row_tasks = (result.rows + kMostRows - 1) / kMostRows;
  const int64_t rows = (result.rows + row_tasks - 1) / row_tasks;
  const int64_t wanted = std::max<int64_t>(1, 2 * at::get_num_threads() / row_tasks);
  const int64_t panels = (result.columns / wanted + kPanelColumns) / kPanelColumns;
  const int64_t size = std::max(kFewestColumns, panels * kPanelColumns);
  const int64_t column_tasks = (result.columns + size - 1) / size;
  InParallel(row_tasks * column_tasks, [&](int64_t task) {
    const int64_t row = task / column_tasks * rows, column = task % column_tasks * size;
    work(row, std::min(rows, result.rows - row), {column, std::min(result.columns, column + size)});
  });
}

// Cuts columns so that all threads have some, in whole panels.
void ForColumns(int64_t columns, const std::function<void(ColumnRange)>& work) {
  constexpr int64_t kAtLeast = 96;
  const int64_t size = std::max(kAtLeast, columns / at::get_num_threads() / 48 * 48);
  InParallel((columns + size - 1) / size, [&](int64_t task) {
    work({task * size, std::min(columns, (task + 1) * size)});
  });
}

// Some columns of a result.
void MultiplyColumns(std::vector<MatrixTerm> terms, int64_t count, ColumnRange columns, Rows rows) {
  for (MatrixTerm& term : terms) term.right = FromColumn(term.right, columns.begin);
  Multiply(terms, {rows.data + columns.begin, rows.stride, count, columns.end - columns.begin});
}

// Columns of what ForwardRows() gives; all of `low`.
void ForwardPart(const Linear& linear, const LoraFactors& lora, const LeftFactor& x, int64_t count,
                 Rows low, ColumnRange columns, Rows y) {
  const int64_t in = linear.weight.size(1), rank = RankOf(lora);
  const RightType type = FactorTypeOf(linear);
  std::vector<MatrixTerm> terms = {{x, Forwards(linear.weight, TypeOf(linear)), in}};
  if (rank > 0) {
    const MatrixTerm down = {x, Forwards(lora.a, type), in};
    Multiply({&down, 1}, {low.data, low.stride, count, rank});
    ScaleRows(lora.scale, count, rank, low);
    terms.push_back({LeftOf(low), Forwards(lora.b, type), rank});
  }
  MultiplyColumns(terms, count, columns, y);
  if (!linear.bias.defined()) return;
  const float* bias = linear.bias.const_data_ptr<float>() + columns.begin;
  for (int64_t i = 0; i < count; ++i) {
    AddScaled(bias, 1, columns.end - columns.begin, y.From(i).FromColumn(columns.begin).data);
  }
}

// A layer's pass with the gradients that products take.
struct LayerGradients {
  const CpuLinearPass& pass;
  at::Tensor by_y;  // Prepared.
  at::Tensor by_low;

  // What of some rows adds up to the gradient of x, for which it makes those of `low`.
  void AppendTerms(int64_t begin, int64_t count, std::vector<MatrixTerm>& terms) const {
    const LeftFactor left = LeftOf(by_y, begin);
    Rows low;
    if (pass.lora->defined()) {
      low = RowsOf(by_low).From(begin);
      LowGradientRows(*pass.linear, *pass.lora, left, count, low);
    }
    AppendInputTerms(*pass.linear, *pass.lora, left, low, terms);
  }
};

LayerGradients ReadyGradients(const CpuLinearPass& pass) {
  return {pass, Prepared(pass.y_gradient, *pass.linear),
          pass.lora->defined() ? at::empty_like(pass.low) : at::Tensor()};
}

void MakeFactorGradients(const LayerGradients& layer, const at::Tensor& x,
                         LinearGradients& gradients) {
  const LoraFactors& lora = *layer.pass.lora;
  const int64_t rows = layer.by_y.size(0);
  if (lora.defined() && lora.a.requires_grad()) {
    gradients.a = at::empty_like(lora.a);
    ForColumns(lora.a.size(1), [&](ColumnRange columns) {
      GradientOfA(RowsOf(layer.by_low), RightOf(x), rows, columns, gradients.a);
    });
  }
  if (lora.defined() && lora.b.requires_grad()) {
    gradients.b = at::empty_like(lora.b);
    ForColumns(lora.b.size(0), [&](ColumnRange columns) {
      GradientOfB(RowsOf(layer.pass.low), RightOf(layer.by_y), rows, columns, gradients.b);
    });
  }
}

}  // namespace

bool HaveKernels(const at::Tensor& x, const Linear& linear) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && HaveKernelsFor(linear.weight) &&
         HasMatrixKernels();
}

RightType FactorTypeOf(const Linear& linear) {
  return RoundsLeft(TypeOf(linear)) ? RightType::kFp32ByBf16 : RightType::kFp32;
}

Rows RowsOf(const at::Tensor& x) {
  if (x.numel() == 0) return {};
  return {x.mutable_data_ptr<float>(), x.stride(0)};
}

LeftFactor LeftOf(Rows rows) { return {.data = rows.data, .stride = rows.stride}; }

RightFactor RightOf(Rows rows) {
  return {rows.data, rows.stride, RightOrder::kByDepth, RightType::kFp32, nullptr};
}

LeftFactor LeftOf(Bf16Rows rows) {
  return {.pairs = reinterpret_cast<const float*>(rows.data), .pair_stride = rows.stride / 2};
}

RightFactor RightOf(Bf16Rows rows) {
  return {rows.data, rows.stride, RightOrder::kByDepth, RightType::kBf16ByBf16, nullptr};
}

bool Rounds(const Linear& linear) { return RoundsLeft(TypeOf(linear)); }

at::Tensor Prepared(const at::Tensor& x, const Linear& linear) {
  if (!Rounds(linear) || x.scalar_type() == at::kBFloat16) return x;
  const int64_t rows = x.size(0), size = x.size(1), pairs = PairsOf(size);
  at::Tensor rounded = at::empty({rows, 2 * pairs}, x.options().dtype(at::kBFloat16));
  const LeftFactor from = LeftOf(RowsOf(x));
  auto* to = static_cast<float*>(rounded.mutable_data_ptr());
  ForRows(rows, [&](int64_t begin, int64_t count) {
    PackPairRows(FromRow(from, begin), size, count, to + begin * pairs, pairs);
  });
  return rounded;
}

LeftFactor LeftOf(const at::Tensor& prepared, int64_t row, const int64_t* index) {
  LeftFactor left = prepared.scalar_type() == at::kBFloat16 ? LeftOf(Bf16RowsOf(prepared))
                                                            : LeftOf(RowsOf(prepared));
  left.rows = index;
  return index == nullptr ? FromRow(left, row) : left;
}

RightFactor RightOf(const at::Tensor& prepared, int64_t row, const int64_t* index) {
  const int64_t first = index == nullptr ? row : 0;
  RightFactor right = prepared.scalar_type() == at::kBFloat16
                          ? RightOf(Bf16RowsOf(prepared).From(first))
                          : RightOf(RowsOf(prepared).From(first));
  right.rows = index;
  return right;
}

int64_t RankOf(const LoraFactors& lora) { return lora.defined() ? lora.a.size(0) : 0; }

void ForwardRows(const Linear& linear, const LoraFactors& lora, const LeftFactor& x, int64_t count,
                 Rows low, Rows y) {
  ForwardPart(linear, lora, x, count, low, {0, linear.weight.size(0)}, y);
}

void LowGradientRows(const Linear& linear, const LoraFactors& lora, const LeftFactor& y_gradient,
                     int64_t count, Rows low) {
  const MatrixTerm term = {y_gradient, Backwards(lora.b, FactorTypeOf(linear)), lora.b.size(0)};
  Multiply({&term, 1}, {low.data, low.stride, count, RankOf(lora)});
  ScaleRows(lora.scale, count, RankOf(lora), low);
}

void AppendInputTerms(const Linear& linear, const LoraFactors& lora, const LeftFactor& y_gradient,
                      Rows low_gradient, std::vector<MatrixTerm>& terms) {
  terms.push_back({y_gradient, Backwards(linear.weight, TypeOf(linear)), linear.weight.size(0)});
  if (!lora.defined()) return;
  terms.push_back({LeftOf(low_gradient), Backwards(lora.a, FactorTypeOf(linear)), RankOf(lora)});
}

void GradientOfA(Rows low_gradient, const RightFactor& x, int64_t count, ColumnRange columns,
                 const at::Tensor& a_gradient) {
  TransposedProduct(low_gradient, FromColumn(x, columns.begin), count,
                    {a_gradient.mutable_data_ptr<float>() + columns.begin, a_gradient.size(1),
                     a_gradient.size(0), columns.end - columns.begin});
}

void GradientOfB(Rows low, const RightFactor& y_gradient, int64_t count, ColumnRange columns,
                 const at::Tensor& b_gradient) {
  const int64_t rank = b_gradient.size(1), size = columns.end - columns.begin;
  std::vector<float> by_rank(static_cast<size_t>(rank * size));
  TransposedProduct(low, FromColumn(y_gradient, columns.begin), count,
                    {by_rank.data(), size, rank, size});
  float* values = b_gradient.mutable_data_ptr<float>() + columns.begin * rank;
  for (int64_t column = 0; column < size; ++column) {
    for (int64_t r = 0; r < rank; ++r) {
      values[column * rank + r] = by_rank[static_cast<size_t>(r * size + column)];
    }
  }
}

CpuLinearResult CpuLinearForward(const at::Tensor& x, const Linear& linear,
                                 const LoraFactors& lora) {
  CpuLinearResult result;
  const at::TensorOptions options = x.options().dtype(at::kFloat);
  result.y = at::empty({x.size(0), linear.weight.size(0)}, options);
  if (lora.defined()) result.low = at::empty({x.size(0), RankOf(lora)}, options);
  const Rows y = RowsOf(result.y);
  const Rows low = lora.defined() ? RowsOf(result.low) : Rows();
  const auto work = [&](int64_t begin, int64_t count, ColumnRange columns) {
    ForwardPart(linear, lora, LeftOf(x, begin), count, low.From(begin), columns, y.From(begin));
  };
  ForParts({x.size(0), linear.weight.size(0)}, /*cuts_columns=*/!lora.defined(), work);
  return result;
}

LinearGradients CpuLinearBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                                  const at::Tensor& low, const Linear& linear,
                                  const LoraFactors& lora, InputGradient input_gradient) {
  const CpuLinearPass layer = {y_gradient, low, &linear, &lora};
  return CpuLinearsBackward({&layer, 1}, x, input_gradient)[0];
}

std::vector<LinearGradients> CpuLinearsBackward(std::span<const CpuLinearPass> layers,
                                                const at::Tensor& x, InputGradient input_gradient) {
  std::vector<LayerGradients> ready;
  for (const CpuLinearPass& layer : layers) ready.push_back(ReadyGradients(layer));
  std::vector<LinearGradients> gradients(layers.size());
  const int64_t rows = layers[0].y_gradient.size(0), in = layers[0].linear->weight.size(1);
  if (input_gradient == InputGradient::kCompute) {
    gradients[0].x = at::empty({rows, in}, layers[0].y_gradient.options().dtype(at::kFloat));
  }
  const bool is_frozen = std::none_of(layers.begin(), layers.end(), [](const CpuLinearPass& layer) {
    return layer.lora->defined();
  });
  ForParts({rows, in}, is_frozen, [&](int64_t begin, int64_t count, ColumnRange columns) {
    std::vector<MatrixTerm> terms;
    for (const LayerGradients& layer : ready) layer.AppendTerms(begin, count, terms);
    if (!gradients[0].x.defined()) return;
    const Rows by_x = RowsOf(gradients[0].x).From(begin);
    MultiplyColumns(terms, count, columns, by_x);
  });
  for (size_t i = 0; i < layers.size(); ++i) MakeFactorGradients(ready[i], x, gradients[i]);
  return gradients;
}

}  // namespace fedtune
