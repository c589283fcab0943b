// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_attention.h"

#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/allclose.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/linspace.h"
#include "gtest/gtest.h"
#include "model/transformer/rotary.h"

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
                         Values(kValueDim, 3).set_requires_grad(true)};
    const at::Tensor y = AttendOnCpu(heads, PlanAttention(batch, at::kCPU), 0.2, products);
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

// Latent attention of the same texts.
class LatentAttentionTest : public CpuAttentionTest {
 protected:
  static constexpr int64_t kNope = 16, kRope = 8;

  using Attention = at::Tensor (*)(const LatentHeads& latent, const AttentionShape& shape,
                                   const AttentionContext& context, RightType products);

  static at::Tensor InPlace(const LatentHeads& latent, const AttentionShape& shape,
                            const AttentionContext& context, RightType products) {
    return AttendOnCpu(latent, shape, context, products);
  }

  static at::Tensor Assembled(const LatentHeads& latent, const AttentionShape& shape,
                              const AttentionContext& context, RightType products) {
    return AttendOnCpu(AssembleHeads(latent, shape, context.rotations), context.plan,
                       shape.softmax_scale, products);
  }

  // A parameter, and what a layer makes of it, which nobody else needs.
  struct Made {
    at::Tensor parameter;
    at::Tensor values = parameter * 1;
  };
  static Made Make(int64_t size, double seed) {
    const at::Tensor values = Values(size, seed).view({kRows, -1});
    return {values.clone().set_requires_grad(true)};
  }

  // What comes out, and the gradients by some sum of it.
  static std::vector<at::Tensor> Run(Attention attend, RightType products,
                                     RotaryPairs pairs = RotaryPairs::kNeighbours) {
    PackedBatch batch;
    batch.Add(kFirst);
    batch.Add(kSecond);
    const AttentionShape shape = {MlaConfig{.kv_lora_rank = 8,
                                            .qk_nope_head_dim = kNope,
                                            .qk_rope_head_dim = kRope,
                                            .v_head_dim = kValueDim},
                                  kHeads, 0.2, pairs};
    const at::Tensor positions = at::arange(kRows), frequencies = at::linspace(1, 0.1, kRope / 2);
    const AttentionContext context = {PlanAttention(batch, at::kCPU),
                                      Rotations(positions, frequencies, 1)};
    const Made q = Make(kNope + kRope, 1), kv = Make(kNope + kValueDim, 2);
    const at::Tensor key = Values(kRope, 3).select(1, 0).contiguous().set_requires_grad(true);
    const at::Tensor y = attend({q.values, kv.values, key}, shape, context, products);
    (y * Values(kValueDim, 4).view({kRows, -1})).sum().backward();
    return {y.detach(), q.parameter.grad(), kv.parameter.grad(), key.grad()};
  }
};

TEST_F(LatentAttentionTest, IsThatOfTheHeadsThatItWouldBeAssembledTo) {
  for (const RotaryPairs pairs : {RotaryPairs::kNeighbours, RotaryPairs::kHalves}) {
    const std::vector<at::Tensor> expected = Run(Assembled, RightType::kFp32, pairs);
    const std::vector<at::Tensor> made = Run(InPlace, RightType::kFp32, pairs);
    for (size_t i = 0; i < made.size(); ++i) {
      EXPECT_TRUE(at::allclose(made[i], expected[i], /*rtol=*/1e-5, /*atol=*/1e-5)) << i;
    }
  }
}

TEST_F(LatentAttentionTest, InBf16HasEqualBitsOnAnyNumberOfThreads) {
  const std::vector<at::Tensor> alone = Run(InPlace, RightType::kFp32ByBf16);
  at::set_num_threads(3);
  const std::vector<at::Tensor> many = Run(InPlace, RightType::kFp32ByBf16);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(many[i].equal(alone[i])) << i;
}

}  // namespace
}  // namespace fedtune
