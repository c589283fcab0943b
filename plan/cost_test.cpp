// SPDX-License-Identifier: Apache-2.0

#include "plan/cost.h"

#include <cmath>
#include <string>
#include <utility>

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
  EXPECT_EQ(gpu.adapter_bytes, 4 * (300 + 120));
  // Twice 20 values in the attention; 10 in half of two experts; 1000 logits.
  EXPECT_EQ(gpu.activation_bytes, static_cast<int64_t>(1.3 * 2 * 40 * (40 + 10 + 1000)));
  EXPECT_EQ(gpu.memory_bytes(), 20'000 + 1'680 + gpu.activation_bytes);
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

// A training by a CPU's kernels, 40 rows of four records at a time.
class CpuActivationsTest : public ::testing::Test {
 protected:
  CpuActivationsTest() {
    model_.vocabulary_size = 1;
    model_.hidden_size = 20;
    model_.linear_layers.clear();
    plan_.adapter.targets = {"all-linear"};
  }

  void Project(std::string name, LayerKind kind, int64_t in, int64_t out) {
    model_.linear_layers.push_back({"model.layers." + std::move(name), kind, in, out});
  }

  void ProjectLatentAttention(const std::string& layer) {
    Project(layer + ".self_attn.q_proj", LayerKind::kAttention, 20, 36);
    Project(layer + ".self_attn.kv_a_proj", LayerKind::kAttention, 20, 14);
    Project(layer + ".self_attn.kv_b_proj", LayerKind::kAttention, 10, 48);
    Project(layer + ".self_attn.o_proj", LayerKind::kAttention, 24, 20);
  }

  void ProjectMlp(const std::string& layer) {
    Project(layer + ".mlp.gate_proj", LayerKind::kDenseMlp, 20, 30);
    Project(layer + ".mlp.up_proj", LayerKind::kDenseMlp, 20, 30);
    Project(layer + ".mlp.down_proj", LayerKind::kDenseMlp, 30, 20);
  }

  // In values: what the heap needs besides is taken off.
  int64_t Values(ComputeType type, int64_t recomputed_layers = 0,
                 const KnownRecords& records = {}) const {
    const AdapterLayout layout = *ResolveTargets(model_, plan_.adapter);
    const PlanCost cost = EstimateCost(plan_, model_, layout, type, recomputed_layers, records);
    return std::lround(static_cast<double>(cost.activation_bytes) / (1.05 * 4));
  }

  // Weights in bf16 that stay so.
  void MakeLarge() {
    model_.parameter_count = 100'000'000;
    model_.weight_bytes = 200'000'000;
  }

  BaseModelDescription model_ = Model();
  Plan plan_ = AttentionPlan();
};

TEST_F(CpuActivationsTest,
       WithoutAvx512ExpertsLeaveWhatTheyTookAndGaveAndTakeSixTimesAsMuchInPassing) {
  model_.hidden_size = 0;
  plan_.adapter.targets = {"attention"};
  Project("0.self_attn.v_proj", LayerKind::kAttention, 1, 0);
  Project("0.mlp.experts.0.down_proj", LayerKind::kRoutedExpert, 30, 50);
  Project("0.mlp.experts.1.down_proj", LayerKind::kRoutedExpert, 30, 50);
  model_.linear_layers[0].out_features = 1;
  EXPECT_EQ(Values(ComputeType::kFp32Widened), 40 * (1 + 2 * 50 + 6 * (30 + 50)));
}

TEST_F(CpuActivationsTest, LatentAttentionLeavesWhatProjectionsTookAndGaveAndNoOtherHeads) {
  MakeLarge();
  ProjectLatentAttention("0");
  // What the norm and the projections took, what they gave, and the low rank of A.
  const int64_t kept = 20 + (20 + 10) + (36 + 14 + 48) + 3 * 2;
  const int64_t rounded = 20 + (20 + 10) / 2 + (36 + 14 + 48) + 3 * 2;
  const int64_t gradients = 20 + 2 * 24 + 2 * 36;
  EXPECT_EQ(Values(ComputeType::kFp32), 40 * (kept + gradients));
  EXPECT_EQ(Values(ComputeType::kFp32Rounding), 40 * (rounded + gradients));
}

TEST_F(CpuActivationsTest, OtherAttentionHasAKeyAndAValueForEachQuery) {
  Project("0.self_attn.q_proj", LayerKind::kAttention, 20, 40);
  Project("0.self_attn.k_proj", LayerKind::kAttention, 20, 10);
  Project("0.self_attn.v_proj", LayerKind::kAttention, 20, 10);
  Project("0.self_attn.o_proj", LayerKind::kAttention, 40, 20);
  const int64_t kept = 20 + 20 + 3 * 40 + 3 * 2, gradients = 20 + 40 + 3 * 40;
  EXPECT_EQ(Values(ComputeType::kFp32), 40 * (kept + gradients));
}

TEST_F(CpuActivationsTest, OfMlpsWhatGateAndUpGaveIsKeptAndCountsHalfWhereItIsRounded) {
  plan_.adapter.targets = {"down_proj"};
  ProjectMlp("0");
  const int64_t scratch = 40 * 30;
  EXPECT_EQ(Values(ComputeType::kFp32),
            40 * ((20 + 2 * 30 + 2) + (20 + 20 + 30 + 2)) + 2 * (30 + 20) + scratch);
  MakeLarge();
  EXPECT_EQ(Values(ComputeType::kFp32Rounding),
            40 * ((20 + 2 * 30) / 2 + 2 + (20 + 10 + 20 + 15 + 2)) + 2 * (30 + 20) + 3 * scratch);
}

TEST_F(CpuActivationsTest, OfRoutedExpertsThoseCountThatATokenGoesThrough) {
  Project("0.self_attn.v_proj", LayerKind::kAttention, 20, 10);
  plan_.adapter.targets = {"attention"};
  Project("0.mlp.gate", LayerKind::kRouter, 20, 2);
  for (const char* expert : {"0.mlp.experts.0.", "0.mlp.experts.1."}) {
    Project(std::string(expert) + "gate_proj", LayerKind::kRoutedExpert, 20, 30);
    Project(std::string(expert) + "up_proj", LayerKind::kRoutedExpert, 20, 30);
    Project(std::string(expert) + "down_proj", LayerKind::kRoutedExpert, 30, 20);
  }
  const int64_t attention = 20 + 2, kept = 20 + 2 + 2 * 30, passing = 20 + 20 + 20 + 30;
  EXPECT_EQ(Values(ComputeType::kFp32), 40 * (attention + kept + passing) + 40 * 30);
}

TEST_F(CpuActivationsTest, BehindTheLastAttentionOnlyAnswersCount) {
  plan_.adapter.targets = {"down_proj"};
  model_.vocabulary_size = 1000;
  for (const char* layer : {"0", "1"}) {
    ProjectMlp(layer);
  }
  const int64_t of_layer = 20 + 2 * 30 + 2, scratch = 40 * 30;
  EXPECT_EQ(Values(ComputeType::kFp32), 40 * 2 * of_layer + 40 * 1000 + scratch);
  // Four records with three each.
  EXPECT_EQ(Values(ComputeType::kFp32, 0, {.wanted_rows = 12}),
            40 * of_layer + 12 * of_layer + 12 * 1000 + scratch);
  EXPECT_EQ(Values(ComputeType::kFp32, 0, {.wanted_rows = 4000}), Values(ComputeType::kFp32));
}

TEST_F(CpuActivationsTest, RecordsOfMixedLengthsCountAsTheyArePacked) {
  plan_.adapter.targets = {"down_proj"};
  model_.vocabulary_size = 1000;
  ProjectMlp("0");
  const int64_t of_layer = 20 + 2 * 30 + 2;
  EXPECT_EQ(Values(ComputeType::kFp32, 0, {.rows = 25}), 25 * (of_layer + 1000 + 30));
  EXPECT_EQ(Values(ComputeType::kFp32, 0, {.rows = 25, .wanted_rows = 12}),
            12 * of_layer + 12 * 1000 + 25 * 30);
}

TEST_F(CpuActivationsTest, OfRecomputedLayersInputsAreKeptAndAllThatTheDerivativeOfOneTakes) {
  plan_.adapter.targets = {"down_proj"};
  for (const char* layer : {"0", "1", "2"}) ProjectMlp(layer);
  const int64_t kept = 20 + 2 * 30 + 2, passing = 20 + 20 + 30 + 2, scratch = 40 * 30;
  const int64_t gradients = 2 * (30 + 20);
  EXPECT_EQ(Values(ComputeType::kFp32), 40 * (3 * kept + passing) + gradients + scratch);
  // Two inputs, and what the last layer gave.
  EXPECT_EQ(Values(ComputeType::kFp32, 3),
            40 * (2 * 20 + kept + passing + 20) + gradients + scratch);
}

TEST_F(CpuActivationsTest, AHeadInBf16TakesTheDerivativesByLogitsRounded) {
  MakeLarge();
  model_.vocabulary_size = 1000;
  plan_.adapter.targets = {"attention"};
  Project("0.self_attn.v_proj", LayerKind::kAttention, 20, 10);
  EXPECT_EQ(Values(ComputeType::kFp32Rounding) - Values(ComputeType::kFp32),
            40 * (1000 / 2 - 20 / 2));
}

// An embedding of 1,000,000 rows of 128 bytes, 61 pieces and a bit, and a head.
BaseModelDescription LargeVocabulary(int64_t bytes_a_value) {
  BaseModelDescription model = Model();
  model.parameter_count = 66'000'000;
  model.vocabulary_size = 1'000'000;
  model.hidden_size = 32;
  model.weight_bytes = bytes_a_value * model.parameter_count;
  return model;
}

int64_t WeightBytesOf(const BaseModelDescription& model, const KnownRecords& records) {
  const Plan plan = AttentionPlan();
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  return EstimateCost(plan, model, layout, ComputeType::kFp32, 0, records).weight_bytes;
}

TEST(PlanCostTest, OfAnEmbeddingThatIsNoHeadThePiecesCountOnWhichTokensLie) {
  BaseModelDescription model = LargeVocabulary(4);
  EXPECT_EQ(EmbeddingRowBytes(model), 128);
  EXPECT_EQ(WeightBytesOf(model, {}), 264'000'000);
  EXPECT_EQ(WeightBytesOf(model, {.embedding_pieces = 10}),
            264'000'000 - 128'000'000 + 10 * kEmbeddingPieceBytes);
  EXPECT_EQ(WeightBytesOf(model, {.embedding_pieces = 62}), 264'000'000);
  model.linear_layers.pop_back();  // The head, which is the embedding then.
  EXPECT_EQ(WeightBytesOf(model, {.embedding_pieces = 10}), 264'000'000);
}

TEST(PlanCostTest, OfAnEmbeddingThatWasWidenedTheFilesPagesAreGivenBack) {
  EXPECT_EQ(WeightBytesOf(LargeVocabulary(2), {}), (4 + 2) * 66'000'000 - 64'000'000);
}

TEST(PlanCostTest, NoMoreIsGivenBackThanTheTrainingTakesAnew) {
  BaseModelDescription model = LargeVocabulary(4);
  Plan plan = AttentionPlan();
  plan.training.batch_size = 1;
  plan.training.sequence_length = 1;
  const AdapterLayout layout = *ResolveTargets(model, plan.adapter);
  const PlanCost cost =
      EstimateCost(plan, model, layout, ComputeType::kFp32, 0, {.embedding_pieces = 1});
  EXPECT_EQ(cost.memory_bytes(), 150'000'000 + 264'000'000 + 4 * cost.trained_parameters);
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
  EXPECT_EQ(Cost(plan).adapter_bytes, 4 * 300);
}

}  // namespace
}  // namespace fedtune
