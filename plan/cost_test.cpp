// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "plan/adapter_targets.h"

namespace fedtune {
namespace {

// One attention layer, two routed experts of which one is used, and a head.
BaseModelDescription Model() {
  using enum LayerKind;
  BaseModelDescription model;
  model.name = "tiny";
  model.parameter_count = 10'000;
  model.vocabulary_size = 1000;
  model.experts_per_token = 1;
  model.routed_expert_count = 2;
  model.linear_layers = {{"q_proj", kAttention, 30, 20},
                         {"experts.0.up_proj", kRoutedExpert, 30, 10},
                         {"experts.1.up_proj", kRoutedExpert, 30, 10},
                         {"lm_head", kHead, 30, 1000}};
  return model;
}

// A: 2 x 30 = 60 values, B: 20 x 2 = 40.
Plan AttentionPlan() {
  Plan plan;
  plan.adapter.rank = 2;
  plan.adapter.targets = {"attention"};
  plan.aggregation.mode = AggregationMode::kPlain;
  plan.rounds.count = 3;
  plan.training.batch_size = 4;
  plan.training.sequence_length = 10;
  return plan;
}

PlanCost Cost(const Plan& plan, ComputeType type = ComputeType::kBf16) {
  return EstimateCost(plan, Model(), *ResolveTargets(Model(), plan.adapter), type);
}

TEST(PlanCostTest, CountsWhatIsTrained) {
  const PlanCost cost = Cost(AttentionPlan());
  EXPECT_EQ(cost.trained_parameters, 100);
  EXPECT_DOUBLE_EQ(cost.share_of_base, 0.01);
}

TEST(PlanCostTest, AlternatingSendsOneFactorARound) {
  const PlanCost cost = Cost(AttentionPlan());  // B, A, B.
  EXPECT_DOUBLE_EQ(cost.parameters_a_round, 140 / 3.0);
  EXPECT_DOUBLE_EQ(cost.upload_bytes_a_round, 4 * 140 / 3.0);
  EXPECT_EQ(cost.download_bytes_a_round, 400);
  EXPECT_EQ(cost.transfer_bytes, 4 * 140 + 4 * 400);
}

TEST(PlanCostTest, FeditSendsBothFactors) {
  Plan plan = AttentionPlan();
  plan.aggregation.method = AggregationMethod::kFedit;
  EXPECT_DOUBLE_EQ(Cost(plan).upload_bytes_a_round, 400);
  EXPECT_EQ(Cost(plan).transfer_bytes, 3 * 400 + 4 * 400);
}

// Five clients of a ring of 24 bits, as above otherwise.
Plan SecureAttentionPlan() {
  Plan plan = AttentionPlan();
  plan.aggregation.mode = AggregationMode::kSecure;
  plan.secure.max_cohort = 5;
  plan.secure.ring = RingBits::k24;
  return plan;
}

TEST(PlanCostTest, ASecureRoundSendsElementsOfItsRingAndTheProtocolsMessages) {
  const PlanCost cost = Cost(SecureAttentionPlan());
  // Sums of five leave 20 bits of the ring for a limb. Of the six counters at the
  // head, weights of 17 bits have one, examples of 28 and losses of 39 two, steps
  // of 33 two and tokens of 49 three; an evaluation has 2 + 3 + 2 + 2.
  const int64_t limbs = 1 + 1 + 2 + 2 + 2 + 3 + 2 * (2 + 3 + 2 + 2);
  const int64_t up = 3 * limbs + 4 * (96 + 40) + 500;
  const int64_t down = 5 * (292 + 104 + 68);
  EXPECT_EQ(cost.secure_upload_bytes_a_round, up);
  EXPECT_EQ(cost.secure_download_bytes_a_round, down);
  EXPECT_DOUBLE_EQ(cost.upload_bytes_a_round, 3 * 140 / 3.0 + static_cast<double>(up));
  EXPECT_EQ(cost.download_bytes_a_round, 400 + down);
  EXPECT_EQ(cost.transfer_bytes, 3 * 140 + 4 * (up + down + 400));
}

TEST(PlanCostTest, BeyondACompleteGraphSharesDoNotGrowWithTheCohort) {
  Plan plan = SecureAttentionPlan();
  plan.secure.max_cohort = 200;
  const PlanCost complete = Cost(plan);
  plan.secure.max_cohort = 201;
  const PlanCost sparse = Cost(plan);
  EXPECT_EQ(sparse.secure_upload_bytes_a_round, complete.secure_upload_bytes_a_round);
  EXPECT_EQ(sparse.secure_download_bytes_a_round - complete.secure_download_bytes_a_round, 464);
}

TEST(PlanCostTest, EstimatesMemoryByItsFormulas) {
  const PlanCost gpu = Cost(AttentionPlan());
  EXPECT_EQ(gpu.program_bytes, 0);
  EXPECT_EQ(gpu.weight_bytes, 20'000);
  EXPECT_EQ(gpu.adapter_bytes, 4 * (200 + 60 + 120));
  // Twice 20 values in the attention; 10 in half of two experts; 1000 logits.
  EXPECT_EQ(gpu.activation_bytes, static_cast<int64_t>(1.3 * 2 * 40 * (40 + 10 + 1000)));
  EXPECT_EQ(gpu.memory_bytes(), 20'000 + 1'520 + gpu.activation_bytes);
}

TEST(PlanCostTest, OnACpuTheProgramAndWhatIsWidenedCountToo) {
  BaseModelDescription model = Model();
  model.weight_bytes = 20'000;
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  const PlanCost cost = EstimateCost(plan, model, layout, ComputeType::kFp32);
  EXPECT_EQ(cost.program_bytes, 150'000'000);
  EXPECT_EQ(cost.weight_bytes, 40'000 + 20'000);
  model.weight_bytes = 40'000;
  EXPECT_EQ(EstimateCost(plan, model, layout, ComputeType::kFp32).weight_bytes, 40'000);
}

TEST(PlanCostTest, OnACpuBf16OfAModelThatIsNotSmallStaysAsItIs) {
  BaseModelDescription model = Model();
  model.parameter_count = 100'000'000;
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  const auto bytes = [&](int64_t stored) {
    model.weight_bytes = stored;
    return EstimateCost(plan, model, layout, ComputeType::kFp32).weight_bytes;
  };
  EXPECT_EQ(bytes(200'000'000), 200'000'000);
  EXPECT_EQ(bytes(400'000'000), 400'000'000);
  EXPECT_EQ(bytes(100'000'000), 500'000'000);  // FP8 is widened.
}

TEST(PlanCostTest, OnACpuOnlyFp8OfAVeryLargeModelIsWidened) {
  BaseModelDescription model = Model();
  model.parameter_count = 2'000'000'000;
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  for (const ComputeType type : {ComputeType::kFp32, ComputeType::kFp32Widened}) {
    const auto bytes = [&](int64_t stored) {
      model.weight_bytes = stored;
      return EstimateCost(plan, model, layout, type).weight_bytes;
    };
    EXPECT_EQ(bytes(8'000'000'000), 8'000'000'000);
    EXPECT_EQ(bytes(4'000'000'000), 4'000'000'000);
    EXPECT_EQ(bytes(2'000'000'000), 2'000'000'000 + 4'000'000'000);
    // A quarter of the parameters, as the embedding, are in bf16.
    EXPECT_EQ(bytes(2'500'000'000), 2'500'000'000 + 3'000'000'000);
  }
}

TEST(PlanCostTest, Fp16IsWidenedAndWithoutAvx512Bf16Too) {
  BaseModelDescription model = Model();
  model.parameter_count = 100'000'000;
  model.weight_bytes = 200'000'000;
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  const auto bytes = [&](ComputeType type) {
    return EstimateCost(plan, model, layout, type).weight_bytes;
  };
  EXPECT_EQ(bytes(ComputeType::kFp32), 200'000'000);
  EXPECT_EQ(bytes(ComputeType::kFp32Rounding), 200'000'000);
  EXPECT_EQ(bytes(ComputeType::kFp32Widened), 600'000'000);
  model.has_fp16 = true;
  EXPECT_EQ(bytes(ComputeType::kFp32), 600'000'000);
  EXPECT_EQ(bytes(ComputeType::kBf16), 200'000'000);
  EXPECT_EQ(bytes(ComputeType::kBf16), 200'000'000);
}

TEST(PlanCostTest, WithoutAvx512ExpertsLeaveWhatTheyTookAndGaveAndTakeSixTimesAsMuchInPassing) {
  BaseModelDescription model = Model();
  model.vocabulary_size = 1;
  model.linear_layers = {
      {"model.layers.0.mlp.experts.0.down_proj", LayerKind::kRoutedExpert, 30, 50},
      {"model.layers.0.mlp.experts.1.down_proj", LayerKind::kRoutedExpert, 30, 50}};
  model.routed_expert_count = 2;
  model.experts_per_token = 1;
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(Model(), plan.adapter);
  const auto activations = [&](ComputeType type) {
    return EstimateCost(plan, model, layout, type).activation_bytes;
  };
  EXPECT_EQ(activations(ComputeType::kFp32), static_cast<int64_t>(1.05 * 4 * 40 * (30 + 50)));
  EXPECT_EQ(activations(ComputeType::kFp32Widened),
            static_cast<int64_t>(1.05 * 4 * 40 * (2 * 50 + 6 * (30 + 50))));
}

TEST(PlanCostTest, WithAvx512LatentAttentionLeavesWhatProjectionsTookAndGaveAndNoOtherHeads) {
  BaseModelDescription model = Model();
  model.vocabulary_size = 1;
  model.parameter_count = 100'000'000;
  model.weight_bytes = 200'000'000;
  for (const auto& [name, in, out] :
       {std::tuple("q_proj", 20, 36), std::tuple("kv_a_proj", 20, 14),
        std::tuple("kv_b_proj", 10, 48), std::tuple("o_proj", 24, 20)}) {
    LinearLayer layer;
    layer.name = std::string("model.layers.0.self_attn.") + name;
    layer.kind = LayerKind::kAttention;
    layer.in_features = in;
    layer.out_features = out;
    model.linear_layers.push_back(layer);
  }
  model.linear_layers.erase(model.linear_layers.begin(), model.linear_layers.end() - 4);
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(Model(), plan.adapter);
  const auto activations = [&](ComputeType type) {
    return EstimateCost(plan, model, layout, type).activation_bytes;
  };
  const int64_t given = 36 + 14 + 48 + 2 * 20, taken = 20 + 10 + 24, logits = 40;
  EXPECT_EQ(activations(ComputeType::kFp32),
            static_cast<int64_t>(1.05 * 4 * (40 * (given + taken) + logits)));
  EXPECT_EQ(activations(ComputeType::kFp32Rounding),
            static_cast<int64_t>(1.05 * 4 * (40 * (given + taken / 2) + logits)));
}

TEST(PlanCostTest, WithAvx512Bf16WhatGateAndUpGaveCountsHalfWhereWeightsStayInBf16) {
  BaseModelDescription model = Model();
  model.vocabulary_size = 1;
  model.parameter_count = 100'000'000;
  model.linear_layers = {{"model.layers.0.mlp.gate_proj", LayerKind::kDenseMlp, 30, 50}};
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(Model(), plan.adapter);
  const auto activations = [&](int64_t weight_bytes, ComputeType type) {
    model.weight_bytes = weight_bytes;
    return EstimateCost(plan, model, layout, type).activation_bytes;
  };
  const int64_t in_bf16 = 200'000'000, in_fp32 = 400'000'000, logits = 40;
  const auto whole = static_cast<int64_t>(1.05 * 4 * (40 * 50 + logits));
  EXPECT_EQ(activations(in_bf16, ComputeType::kFp32), whole);
  EXPECT_EQ(activations(in_fp32, ComputeType::kFp32Rounding), whole);
  EXPECT_EQ(activations(in_bf16, ComputeType::kFp32Rounding),
            static_cast<int64_t>(1.05 * 4 * (40 * 25 + logits)));
}

TEST(PlanCostTest, MoreTokensThanGoThroughTogetherCostNoMore) {
  Plan plan = AttentionPlan();
  plan.training.sequence_length = 100;
  plan.training.batch_size = 200;
  const int64_t many = Cost(plan).activation_bytes;
  plan.training.batch_size = 2000;
  EXPECT_EQ(Cost(plan).activation_bytes, many);
}

// Three layers with 60, 90 and 120 values of a token; inputs have 25.
BaseModelDescription ThreeLayers() {
  using enum LayerKind;
  BaseModelDescription model = Model();
  model.hidden_size = 25;
  model.vocabulary_size = 1;
  model.linear_layers = {{"model.layers.0.q_proj", kAttention, 30, 20},
                         {"model.layers.1.q_proj", kAttention, 30, 20},
                         {"model.layers.1.mlp.up_proj", kDenseMlp, 30, 30},
                         {"model.layers.10.q_proj", kAttention, 30, 40},
                         {"lm_head", kHead, 30, 1}};
  return model;
}

TEST(PlanCostTest, OfRecomputedLayersInputsAreKeptAndTheActivationsOfOne) {
  const Plan plan = AttentionPlan();
  const BaseModelDescription model = ThreeLayers();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  const auto activations = [&](int64_t recomputed) {
    return EstimateCost(plan, model, layout, ComputeType::kBf16, recomputed).activation_bytes;
  };
  const auto bytes = [](double of_token, double logits) {
    return static_cast<int64_t>(1.3 * 2 * (40 * of_token + logits));
  };
  EXPECT_EQ(activations(0), bytes(40 + 70 + 80, 40));
  EXPECT_EQ(activations(1), bytes(25 + 70 + 80, 40));
  EXPECT_EQ(activations(2), bytes(2 * 25 + 80, 40));  // Behind the forward pass.
  EXPECT_EQ(activations(3), bytes(3 * 25 + 80, 0));   // In the last layer's backward pass.
  EXPECT_EQ(activations(100), activations(3));
}

TEST(PlanCostTest, SgdKeepsNoMoments) {
  Plan plan = AttentionPlan();
  plan.training.optimizer = LocalOptimizer::kSgd;
  EXPECT_EQ(Cost(plan).adapter_bytes, 4 * (200 + 60));
}

}  // namespace
}  // namespace fedtune
