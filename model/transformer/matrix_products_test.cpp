// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/matrix_products.h"

#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/linspace.h"
#include "ATen/ops/mm.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

// Values in [-1, 1] without a pattern along either side.
at::Tensor Matrix(int64_t rows, int64_t columns) {
  return at::linspace(0, static_cast<double>(rows * columns), rows * columns, at::kDouble)
      .mul_(12.9898)
      .sin_()
      .to(at::kFloat)
      .view({rows, columns});
}

LeftFactor LeftOf(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.stride(0), x.stride(1), nullptr};
}

RightFactor RightOf(const at::Tensor& x, RightOrder order, RightType bf16_type = RightType::kBf16) {
  const bool is_bf16 = x.scalar_type() == at::kBFloat16;
  return {x.const_data_ptr(), x.size(1), order, is_bf16 ? bf16_type : RightType::kFp32, nullptr};
}

at::Tensor Product(const std::vector<MatrixTerm>& terms, int64_t rows, int64_t columns) {
  at::Tensor y = at::empty({rows, columns});
  MultiplyInParallel(terms, {y.mutable_data_ptr<float>(), columns, rows, columns});
  return y;
}

// The CPU adds a product of bf16 values up in two steps that are rounded each, by
// which long sums are less exact.
constexpr double kBf16Sums = 1e-5;

void ExpectProduct(const at::Tensor& y, const at::Tensor& x, const at::Tensor& w,
                   double tolerance = 1e-6) {
  const at::Tensor expected = at::mm(x.to(at::kDouble), w.to(at::kDouble));
  const auto norm = [](const at::Tensor& m) { return at::linalg_vector_norm(m).item<double>(); };
  EXPECT_LE(norm(y - expected), tolerance * norm(x) * norm(w.to(at::kFloat)));
}

class MatrixProductsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no matrix kernels";
  }
  void TearDown() override { at::set_num_threads(1); }
};

TEST_F(MatrixProductsTest, AreRightForEverySizeAndOrder) {
  for (const int64_t rows : {1, 7, 16, 33, 300}) {
    for (const int64_t depth : {1, 16, 37, 400}) {
      for (const int64_t columns : {1, 16, 30, 50, 200}) {
        const at::Tensor x = Matrix(rows, depth), w = Matrix(depth, columns);
        const at::Tensor by_column = w.t().contiguous(), turned = x.t().contiguous().t();
        for (const at::Tensor& left : {x, turned}) {
          const MatrixTerm one = {LeftOf(left), RightOf(w, RightOrder::kByDepth), depth};
          ExpectProduct(Product({one}, rows, columns), x, w);
          const MatrixTerm two = {LeftOf(left), RightOf(by_column, RightOrder::kByColumn), depth};
          ExpectProduct(Product({two}, rows, columns), x, w);
        }
      }
    }
  }
}

TEST_F(MatrixProductsTest, WidenBf16) {
  const at::Tensor x = Matrix(40, 70), w = Matrix(70, 100).to(at::kBFloat16);
  const at::Tensor by_column = w.t().contiguous();
  ExpectProduct(Product({{LeftOf(x), RightOf(w, RightOrder::kByDepth), 70}}, 40, 100), x, w);
  ExpectProduct(Product({{LeftOf(x), RightOf(by_column, RightOrder::kByColumn), 70}}, 40, 100), x,
                w);
}

// As WidenBf16, but with x rounded, which is all that may differ from what is exact.
TEST_F(MatrixProductsTest, MultiplyBf16ByBf16ForEverySizeAndOrder) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  for (const int64_t rows : {1, 7, 16, 33, 300}) {
    for (const int64_t depth : {1, 2, 31, 32, 37, 801}) {
      for (const int64_t columns : {1, 16, 30, 50, 200}) {
        const at::Tensor x = Matrix(rows, depth), rounded = x.to(at::kBFloat16).to(at::kFloat);
        const at::Tensor w = Matrix(depth, columns).to(at::kBFloat16);
        const at::Tensor by_column = w.t().contiguous(), turned = x.t().contiguous().t();
        for (const at::Tensor& left : {x, turned}) {
          for (const RightFactor& right :
               {RightOf(w, RightOrder::kByDepth, RightType::kBf16ByBf16),
                RightOf(by_column, RightOrder::kByColumn, RightType::kBf16ByBf16)}) {
            ExpectProduct(Product({{LeftOf(left), right, depth}}, rows, columns), rounded, w,
                          kBf16Sums);
          }
        }
      }
    }
  }
}

TEST_F(MatrixProductsTest, RoundBothFactorsForEverySizeAndOrder) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  const auto rounded = [](const at::Tensor& m) { return m.to(at::kBFloat16).to(at::kFloat); };
  for (const int64_t rows : {1, 16, 33}) {
    for (const int64_t depth : {1, 2, 31, 37, 100}) {
      for (const int64_t columns : {1, 16, 30, 50, 200}) {
        const at::Tensor x = Matrix(rows, depth), w = Matrix(depth, columns);
        const at::Tensor by_column = w.t().contiguous();
        for (RightFactor right :
             {RightOf(w, RightOrder::kByDepth), RightOf(by_column, RightOrder::kByColumn)}) {
          right.type = RightType::kFp32ByBf16;
          for (const at::Tensor& left : {x, x.t().contiguous().t()}) {
            ExpectProduct(Product({{LeftOf(left), right, depth}}, rows, columns), rounded(x),
                          rounded(w), kBf16Sums);
          }
        }
      }
    }
  }
}

TEST_F(MatrixProductsTest, OfRowsRoundedBeforeAreThoseOfRowsRoundedOnTheWay) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  const at::Tensor x = Matrix(40, 33);
  const at::Tensor rounded = at::cat({x, at::zeros({40, 1})}, 1).to(at::kBFloat16);
  const std::vector<int64_t> chosen = {39, 3, 3, 0, 17, 20, 21, 4, 38, 9, 11};
  for (const bool choose : {false, true}) {
    LeftFactor on_the_way = LeftOf(x);
    LeftFactor before = {.pairs = static_cast<const float*>(rounded.const_data_ptr()),
                         .pair_stride = 17};
    if (choose) on_the_way.rows = before.rows = chosen.data();
    const int64_t rows = choose ? std::ssize(chosen) : 40;
    for (const int64_t columns : {16, 60}) {
      const at::Tensor w = Matrix(33, columns).to(at::kBFloat16);
      const RightFactor right = RightOf(w, RightOrder::kByDepth, RightType::kBf16ByBf16);
      EXPECT_TRUE(Product({{before, right, 33}}, rows, columns)
                      .equal(Product({{on_the_way, right, 33}}, rows, columns)));
    }
  }
}

TEST_F(MatrixProductsTest, OfRowsGatheredBeforeAreThoseOfRowsGatheredOnTheWay) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  const at::Tensor x = Matrix(40, 34).to(at::kBFloat16), w = Matrix(34, 60).to(at::kBFloat16);
  const std::vector<int64_t> chosen = {39, 3, 3, 0, 17, 20, 21, 4, 38, 9, 11};
  const RightFactor right = RightOf(w, RightOrder::kByDepth, RightType::kBf16ByBf16);
  const LeftFactor left = {.rows = chosen.data(),
                           .pairs = static_cast<const float*>(x.const_data_ptr()),
                           .pair_stride = 17};
  GatheredRows room;
  const LeftFactor gathered = room.Of(left, 34, std::ssize(chosen));
  EXPECT_TRUE(Product({{gathered, right, 34}}, std::ssize(chosen), 60)
                  .equal(Product({{left, right, 34}}, std::ssize(chosen), 60)));
}

// Some first rows and columns of a factor that was packed once for all.
TEST_F(MatrixProductsTest, OfAFactorPackedBeforeAreThoseOfOnePackedOnTheWay) {
  constexpr int64_t kDepth = 2301, kColumns = 130, kRows = 9;
  const at::Tensor x = Matrix(kRows, kDepth), w = Matrix(kDepth, kColumns);
  const at::Tensor by_column = w.t().contiguous();
  PackedFactor room;
  for (const RightType type : {RightType::kFp32, RightType::kFp32ByBf16}) {
    if (RoundsLeft(type) && !HasBf16Kernels()) continue;
    for (RightFactor right :
         {RightOf(w, RightOrder::kByDepth), RightOf(by_column, RightOrder::kByColumn)}) {
      right.type = type;
      const RightFactor packed = room.Pack(right, kDepth, kColumns);
      for (const int64_t depth : {2L, 64L, kDepth}) {
        for (const int64_t columns : {1L, 48L, 60L, kColumns}) {
          const auto product = [&](const RightFactor& factor) {
            at::Tensor y = at::empty({kRows, columns});
            const MatrixTerm terms[] = {{LeftOf(x), right, depth}, {LeftOf(x), factor, depth}};
            Multiply(terms, {y.mutable_data_ptr<float>(), columns, kRows, columns});
            return y;
          };
          EXPECT_TRUE(product(packed).equal(product(right))) << depth << ", " << columns;
        }
      }
    }
  }
}

TEST_F(MatrixProductsTest, AddUpMoreDepthThanRegistersDo) {
  const at::Tensor x = Matrix(20, 2500), w = Matrix(2500, 50);
  const auto product = [&](RightType type, const at::Tensor& right) {
    const RightFactor head = RightOf(right, RightOrder::kByDepth, type);
    RightFactor tail = RightOf(right.narrow(0, 2100, 400), RightOrder::kByDepth, type);
    return Product({{LeftOf(x), head, 2100}, {LeftOf(x.narrow(1, 2100, 400)), tail, 400}}, 20, 50);
  };
  ExpectProduct(product(RightType::kFp32, w), x, w);
  if (!HasBf16Kernels()) return;
  const at::Tensor narrow = w.to(at::kBFloat16);
  ExpectProduct(product(RightType::kBf16ByBf16, narrow), x.to(at::kBFloat16).to(at::kFloat), narrow,
                kBf16Sums);
}

TEST_F(MatrixProductsTest, MultiplyChosenRowsOfBf16) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  const at::Tensor x = Matrix(50, 90).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor w = Matrix(90, 60).to(at::kBFloat16);
  const std::vector<int64_t> chosen = {49, 3, 3, 0, 17, 20, 21, 4, 48, 9, 11};
  const at::Tensor index = at::from_blob(const_cast<int64_t*>(chosen.data()), {11}, at::kLong);
  MatrixTerm term = {LeftOf(x), RightOf(w, RightOrder::kByDepth, RightType::kBf16ByBf16), 90};
  term.left.rows = chosen.data();
  ExpectProduct(Product({term}, 11, 60), x.index_select(0, index), w);

  const at::Tensor left = x.narrow(1, 0, 11);
  MatrixTerm by_depth = {LeftOf(left), term.right, 11};
  by_depth.right.rows = chosen.data();
  ExpectProduct(Product({by_depth}, 50, 60), left, w.index_select(0, index));
}

TEST_F(MatrixProductsTest, AddTermsOfBothTypesUp) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  const at::Tensor x = Matrix(50, 90).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor w = Matrix(90, 60).to(at::kBFloat16), tail = w.narrow(0, 71, 19).to(at::kFloat);
  const at::Tensor y =
      Product({{LeftOf(x.narrow(1, 0, 71)),
                RightOf(w.narrow(0, 0, 71), RightOrder::kByDepth, RightType::kBf16ByBf16), 71},
               {LeftOf(x.narrow(1, 71, 19)), RightOf(tail, RightOrder::kByDepth), 19}},
              50, 60);
  ExpectProduct(y, x, w);
}

// However many values of fp32 go before it, depth of pairs is cut where steps end.
TEST_F(MatrixProductsTest, AddAPackedFactorInPairsUpBehindValuesOfFp32) {
  if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  constexpr int64_t kDepth = 4101, kColumns = 60, kRows = 20;
  const at::Tensor x = Matrix(kRows, kDepth).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor w = Matrix(kDepth, kColumns).to(at::kBFloat16);
  PackedFactor room;
  const RightFactor packed =
      room.Pack(RightOf(w, RightOrder::kByDepth, RightType::kBf16ByBf16), kDepth, kColumns);
  for (const int64_t before : {1, 19, 1000, 1023, 1024}) {
    const at::Tensor head = Matrix(kRows, before), zeros = at::zeros({before, kColumns});
    const MatrixTerm terms[] = {{LeftOf(head), RightOf(zeros, RightOrder::kByDepth), before},
                                {LeftOf(x), packed, kDepth}};
    at::Tensor y = at::empty({kRows, kColumns});
    Multiply(terms, {y.mutable_data_ptr<float>(), kColumns, kRows, kColumns});
    ExpectProduct(y, x, w, kBf16Sums);
  }
}

TEST_F(MatrixProductsTest, AddTermsUp) {
  const at::Tensor x = Matrix(50, 90), w = Matrix(90, 60);
  const at::Tensor head = x.narrow(1, 0, 70), tail = x.narrow(1, 70, 20);
  const at::Tensor y =
      Product({{LeftOf(head), RightOf(w.narrow(0, 0, 70), RightOrder::kByDepth), 70},
               {LeftOf(tail), RightOf(w.narrow(0, 70, 20), RightOrder::kByDepth), 20}},
              50, 60);
  ExpectProduct(y, x, w);
}

TEST_F(MatrixProductsTest, TakeRowsFromWhereTheyLie) {
  const at::Tensor x = Matrix(50, 90), w = Matrix(90, 60);
  const std::vector<int64_t> chosen = {49, 3, 3, 0, 17, 20, 21, 4, 48, 9};
  const at::Tensor index = at::from_blob(const_cast<int64_t*>(chosen.data()), {10}, at::kLong);
  MatrixTerm term = {LeftOf(x), RightOf(w, RightOrder::kByDepth), 90};
  term.left.rows = chosen.data();
  ExpectProduct(Product({term}, 10, 60), x.index_select(0, index), w);

  const at::Tensor left = Matrix(30, 10);
  MatrixTerm by_depth = {LeftOf(left), RightOf(w, RightOrder::kByDepth), 10};
  by_depth.right.rows = chosen.data();
  ExpectProduct(Product({by_depth}, 30, 60), left, w.index_select(0, index));
}

TEST_F(MatrixProductsTest, HaveEqualBitsOnAnyNumberOfThreads) {
  const at::Tensor x = Matrix(700, 900), w = Matrix(300, 900), narrow = w.to(at::kBFloat16);
  std::vector<RightFactor> rights = {RightOf(w, RightOrder::kByColumn),
                                     RightOf(narrow, RightOrder::kByColumn)};
  if (HasBf16Kernels()) {
    rights.push_back(RightOf(narrow, RightOrder::kByColumn, RightType::kBf16ByBf16));
  }
  for (const RightFactor& right : rights) {
    const MatrixTerm term = {LeftOf(x), right, 900};
    at::set_num_threads(1);
    const at::Tensor alone = Product({term}, 700, 300);
    for (const int threads : {2, 3, 16}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(Product({term}, 700, 300).equal(alone)) << threads;
    }
  }
}

}  // namespace
}  // namespace fedtune
