// SPDX-License-Identifier: Apache-2.0

#include "client/round/memory_fit.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "plan/adapter_targets.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

// Four layers of a query projection: a token leaves 300 values behind in each, or its
// input of 50.
BaseModelDescription Model() {
  BaseModelDescription model;
  model.name = "tiny";
  model.parameter_count = 20'000;
  model.weight_bytes = 80'000;
  model.layer_count = 4;
  model.hidden_size = 50;
  model.vocabulary_size = 1;
  for (int layer = 0; layer < 4; ++layer) {
    model.linear_layers.push_back(
        {fmt::format("model.layers.{}.q_proj", layer), LayerKind::kAttention, 50, 100});
  }
  return model;
}

class MemoryFitTest : public ::testing::Test {
 protected:
  MemoryFitTest() {
    plan_.aggregation.mode = AggregationMode::kPlain;
    plan_.adapter.rank = 16;
    plan_.adapter.targets = {"q_proj"};
    plan_.training.batch_size = 8;
    plan_.training.steps = 4;
    plan_.rounds.count = 10;
    plan_.training.sequence_length = 512;
    budget_.type = ComputeType::kBf16;  // There is no program to count.
    Records(256);
  }

  void Records(size_t length) {
    records_.assign(2, {.tokens = std::vector<int32_t>(length), .is_target = {}});
  }

  AdapterLayout Layout() const { return *ResolveTargets(model_, plan_.adapter); }

  absl::StatusOr<MemoryFit> Fit() const {
    const AdapterLayout layout = Layout();
    return FitIntoMemory(budget_, {plan_, model_, layout, records_, validation_, "north"});
  }

  // Of steps whose records all have 256 tokens.
  uint64_t Bytes(int64_t recomputed_layers) const {
    Plan plan = plan_;
    plan.training.sequence_length = 256;
    return static_cast<uint64_t>(
        EstimateCost(plan, model_, Layout(), budget_.type, recomputed_layers).memory_bytes());
  }

  std::string Refusal() const {
    const absl::Status status = Fit().status();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kResourceExhausted));
    return std::string(Message(status));
  }

  BaseModelDescription model_ = Model();
  Plan plan_;
  MemoryBudget budget_;
  std::vector<TokenizedRecord> records_;
  std::vector<TokenizedRecord> validation_;
};

TEST_F(MemoryFitTest, NothingIsRecomputedWhereAllFits) {
  budget_.bytes = Bytes(0);
  const auto fit = Fit();
  ASSERT_THAT(fit, IsOk());
  EXPECT_EQ(fit->recomputed_layers, 0);
  EXPECT_EQ(fit->bytes, static_cast<int64_t>(Bytes(0)));
}

TEST_F(MemoryFitTest, NoMoreLayersAreRecomputedThanItTakes) {
  budget_.bytes = Bytes(2);
  ASSERT_LT(Bytes(2), Bytes(1));
  const auto fit = Fit();
  ASSERT_THAT(fit, IsOk());
  EXPECT_EQ(fit->recomputed_layers, 2);
  EXPECT_EQ(fit->layers, 4);
  EXPECT_EQ(fit->bytes, static_cast<int64_t>(Bytes(2)));
  EXPECT_EQ(fit->bytes_if_kept, static_cast<int64_t>(Bytes(0)));
  budget_.bytes = Bytes(2) - 1;
  EXPECT_EQ(Fit()->recomputed_layers, 3);
}

TEST_F(MemoryFitTest, AlwaysIsAllLayersHoweverMuchMemoryThereIs) {
  budget_.recompute = Recompute::kAlways;
  EXPECT_EQ(Fit()->recomputed_layers, 4);
}

TEST_F(MemoryFitTest, WhoNeverRecomputesIsToldThatItWouldHelp) {
  budget_.recompute = Recompute::kNever;
  budget_.bytes = Bytes(3);
  EXPECT_THAT(Refusal(), HasSubstr("recompute = \"auto\" in [training] of the client's "
                                   "configuration (--recompute auto): 3 of 4 layers"));
  budget_.bytes = Bytes(0);
  EXPECT_EQ(Fit()->recomputed_layers, 0);
}

TEST_F(MemoryFitTest, ARefusalNamesEachChangeThatWouldHelp) {
  budget_.bytes = Bytes(3) - 100'000;
  ASSERT_LT(budget_.bytes, Bytes(4));
  const std::string refusal = Refusal();
  EXPECT_THAT(refusal, HasSubstr("any of these makes it fit"));
  EXPECT_THAT(refusal, HasSubstr("records of at most 128 tokens (sequence_length; the longest has "
                                 "256)"));
  EXPECT_THAT(refusal, HasSubstr("batch_size = 4 (it is 8)"));
  EXPECT_THAT(refusal, Not(HasSubstr("recompute = "))) << "that is not enough";
}

// Three recomputed layers take the least. 600 values of a rank, of which 400 are trained in a
// round; AdamW keeps two more of each.
TEST_F(MemoryFitTest, FewerTrainedParametersHelpWhereTheAdapterIsLarge) {
  plan_.adapter.rank = 50;
  budget_.bytes = Bytes(3) - 5 * 4 * (3 * 600 + 2 * 400);
  EXPECT_THAT(Refusal(), HasSubstr("at most 27.0 k trained parameters (rank, targets; there are "
                                   "30.0 k)"));
  plan_.adapter.rank = 45;
  EXPECT_THAT(Fit(), IsOk());
  plan_.adapter.rank = 46;
  EXPECT_THAT(Fit(), HasCode(absl::StatusCode::kResourceExhausted));
}

TEST_F(MemoryFitTest, NoChangeHelpsABaseModelThatIsTooLarge) {
  budget_.bytes = 39'999;
  EXPECT_THAT(Refusal(), HasSubstr("the base model alone does not fit"));
}

TEST_F(MemoryFitTest, RecordsThatAreShorterThanThePlanAllowsCostLess) {
  budget_.bytes = Bytes(0);
  Records(257);
  EXPECT_GT(Fit()->recomputed_layers, 0);
  Records(100);
  EXPECT_LT(Fit()->bytes, static_cast<int64_t>(Bytes(0)));
}

// Of eight records in a step four are short.
TEST_F(MemoryFitTest, RecordsOfMixedLengthsCostWhatTheyTakeTogether) {
  records_[0].tokens.resize(56);
  const int64_t mixed = Fit()->bytes;
  Records((256 + 56) / 2);
  EXPECT_EQ(Fit()->bytes, mixed);
  EXPECT_LT(mixed, static_cast<int64_t>(Bytes(0)));
}

TEST_F(MemoryFitTest, LongRecordsCostMuchOnceAStepHasManyOfThem) {
  records_.assign(100, {.tokens = std::vector<int32_t>(4), .is_target = {}});
  for (size_t i = 0; i < 20; ++i) records_[i].tokens.resize(256);
  plan_.training.steps = 1;
  plan_.rounds.count = 1;
  const int64_t one_step = Fit()->bytes;
  plan_.rounds.count = 200;
  const int64_t many_steps = Fit()->bytes;
  EXPECT_GT(many_steps, one_step);
  EXPECT_LT(many_steps, static_cast<int64_t>(Bytes(0)));
  plan_.rounds.count = 1'000'000;
  EXPECT_EQ(Fit()->bytes, static_cast<int64_t>(Bytes(0))) << "some time all may come together";
}

TEST_F(MemoryFitTest, OnACpuShortAnswersCostLess) {
  budget_.type = ComputeType::kFp32;
  model_.vocabulary_size = 100'000;
  for (TokenizedRecord& record : records_) record.is_target.assign(256, 1);
  const int64_t all = Fit()->bytes;
  for (TokenizedRecord& record : records_) std::fill_n(record.is_target.begin(), 250, 0);
  EXPECT_LT(Fit()->bytes, all);
}

// Rows of 200 bytes: 10,485 of them are a piece of the embedding.
TEST_F(MemoryFitTest, OnACpuPartsOfTheEmbeddingWithoutTokensOfRecordsCostNothing) {
  budget_.type = ComputeType::kFp32;
  model_.vocabulary_size = 40'000;
  model_.linear_layers.push_back({"lm_head", LayerKind::kHead, 50, 40'000});
  model_.parameter_count = 10'000'000;
  model_.weight_bytes = 40'000'000;
  records_[0].tokens = {1, 2, 3};
  const int64_t one = Fit()->bytes;
  records_[0].tokens = {1, 2, 10'000};
  EXPECT_EQ(Fit()->bytes, one);
  records_[0].tokens = {1, 12'000, 25'000};
  EXPECT_EQ(Fit()->bytes, one + 2 * kEmbeddingPieceBytes);
  records_[0].tokens = {1, -1, 40'000};
  EXPECT_EQ(Fit()->bytes, one) << "they are refused when the training begins";
}

TEST_F(MemoryFitTest, OnACpuRecordsTakeOfTheMemoryToo) {
  budget_.type = ComputeType::kFp32;
  const int64_t before = Fit()->bytes;
  validation_.assign(100, {.tokens = std::vector<int32_t>(100'000), .is_target = {}});
  EXPECT_GE(MemoryOf(validation_), 40'000'000);
  EXPECT_EQ(Fit()->bytes, before + MemoryOf(validation_));
  budget_.bytes = static_cast<uint64_t>(before + MemoryOf(validation_) / 2);
  EXPECT_THAT(Refusal(), HasSubstr("the base model and the records alone do not fit"));
}

TEST_F(MemoryFitTest, OnAGpuTheyTakeNone) {
  const int64_t before = Fit()->bytes;
  validation_.assign(100, {.tokens = std::vector<int32_t>(100'000), .is_target = {}});
  EXPECT_EQ(Fit()->bytes, before);
}

TEST_F(MemoryFitTest, IsDescribedWithItsNumbers) {
  MemoryFit fit = {.recomputed_layers = 0,
                   .layers = 12,
                   .bytes = 1'200'000'000,
                   .bytes_if_kept = 1'200'000'000,
                   .limit = 1'300'000'000};
  EXPECT_EQ(Describe(fit), "1.2 GB of 1.3 GB");
  fit.recomputed_layers = 5;
  fit.bytes_if_kept = 1'900'000'000;
  EXPECT_EQ(Describe(fit),
            "1.2 GB of 1.3 GB, as 5 of 12 layers compute their activations twice (1.9 GB if none "
            "did)");
}

}  // namespace
}  // namespace fedtune
