// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_attention.h"

#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/linspace.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr int64_t kHeads = 3, kKeyDim = 24, kValueDim = 16;

// Two texts, of which one has an odd number of rows.
const std::vector<int32_t> kFirst(90, 1), kSecond(37, 2);
constexpr int64_t kRows = 127;

at::Tensor Values(int64_t size, double seed) {
  return at::linspace(seed, seed + static_cast<double>(kRows * kHeads * size),
                      kRows * kHeads * size, at::kDouble)
      .mul_(12.9898)
      .sin_()
      .to(at::kFloat)
      .view({kRows, kHeads, size});
}

class CpuAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
  }
  void TearDown() override { at::set_num_threads(1); }

  // What comes out, and the gradients of the heads by some sum of it.
  static std::vector<at::Tensor> Run(RightType products) {
    PackedBatch batch;
    batch.Add(kFirst);
    batch.Add(kSecond);
    const Heads heads = {Values(kKeyDim, 1).set_requires_grad(true),
                         Values(kKeyDim, 2).set_requires_grad(true),
                         Values(kKeyDim, 3).set_requires_grad(true)};
    const at::Tensor y =
        AttendOnCpu(heads, PlanAttention(batch, at::kCPU), 0.2, kValueDim, products);
    (y * Values(kValueDim, 4).view({kRows, -1})).sum().backward();
    return {y.detach(), heads.q.grad(), heads.k.grad(), heads.v.grad()};
  }
};

TEST_F(CpuAttentionTest, InBf16IsThatInFp32ButForTheRounding) {
  constexpr double kBf16Error = 0.01;
  const std::vector<at::Tensor> exact = Run(RightType::kFp32);
  const std::vector<at::Tensor> rounded = Run(RightType::kFp32ByBf16);
  for (size_t i = 0; i < exact.size(); ++i) {
    const double size = at::linalg_vector_norm(exact[i]).item<double>();
    const double apart = at::linalg_vector_norm(rounded[i] - exact[i]).item<double>();
    EXPECT_GT(apart, 0) << i;
    EXPECT_LE(apart, kBf16Error * size) << i;
  }
}

TEST_F(CpuAttentionTest, InBf16HasEqualBitsOnAnyNumberOfThreads) {
  const std::vector<at::Tensor> alone = Run(RightType::kFp32ByBf16);
  at::set_num_threads(3);
  const std::vector<at::Tensor> many = Run(RightType::kFp32ByBf16);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(many[i].equal(alone[i])) << i;
}

}  // namespace
}  // namespace fedtune
