// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_record.h"

#include <limits>

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

RoundInputs Inputs() {
  return {.run = "run-1cd1",
          .round = 7,
          .adapter = Sha256Of("adapter"),
          .factors = FactorSet::kA,
          .evaluate = true,
          .plan = Sha256Of("plan"),
          .base_model = "sha256:77ab",
          .layout = Sha256Of("layout"),
          .records = Sha256Of("records")};
}

RoundCheckpoint Checkpoint() {
  return {.inputs = Inputs(),
          .before = EvaluationResult{.loss = 0.5, .accuracy = 0.25, .example_count = 12},
          .training = TrainingState{.step = 120,
                                    .adapter = {1, -2, 3},
                                    .first_moment = {4, 5},
                                    .second_moment = {6, 7},
                                    .loss_sum = 8.5,
                                    .token_count = 9,
                                    .answer_token_count = 10,
                                    .seconds = 11.25,
                                    .routed_tokens = {12, 0, 13}}};
}

RoundResult Result() {
  return {.inputs = Inputs(),
          .delta = {0.5f, -0.25f},
          .metrics = {.training_loss = 1.5,
                      .steps = 400,
                      .token_count = 70,
                      .routed_tokens = {3, 0, 4},
                      .training_time = absl::Milliseconds(2500),
                      .before = std::nullopt,
                      .after = EvaluationResult{.loss = 0.5, .example_count = 12}}};
}

template <typename Record>
Bytes Stored(const Record& record) {
  const RoundRecord stored = RoundRecord::Of(record);
  Bytes bytes;
  for (const ByteSpan part : stored.parts()) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

TEST(RoundRecordTest, GivesBackACheckpoint) {
  const auto parsed = ParseCheckpoint(Stored(Checkpoint()));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(*parsed, Checkpoint());
}

TEST(RoundRecordTest, GivesBackACheckpointBeforeTheFirstStep) {
  RoundCheckpoint checkpoint = Checkpoint();
  checkpoint.training.reset();
  EXPECT_EQ(*ParseCheckpoint(Stored(checkpoint)), checkpoint);
}

TEST(RoundRecordTest, GivesBackAResult) {
  const auto parsed = ParseResult(Stored(Result()));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(*parsed, Result());
}

TEST(RoundRecordTest, GivesBackTheResultOfAnEvaluation) {
  RoundResult result = Result();
  result.inputs.evaluate_only = true;
  result.delta.clear();
  EXPECT_EQ(*ParseResult(Stored(result)), result);
}

TEST(RoundRecordTest, RefusesWhatIsCutShortAnywhere) {
  const Bytes checkpoint = Stored(Checkpoint());
  for (size_t size = 0; size < checkpoint.size(); ++size) {
    EXPECT_THAT(ParseCheckpoint(ByteSpan(checkpoint).first(size)), HasCode(kInvalid)) << size;
  }
  const Bytes result = Stored(Result());
  for (size_t size = 0; size < result.size(); ++size) {
    EXPECT_THAT(ParseResult(ByteSpan(result).first(size)), HasCode(kInvalid)) << size;
  }
}

TEST(RoundRecordTest, RefusesBytesAfterTheEnd) {
  Bytes checkpoint = Stored(Checkpoint());
  checkpoint.push_back(0);
  EXPECT_THAT(Message(ParseCheckpoint(checkpoint).status()), HasSubstr("after its end"));
  Bytes result = Stored(Result());
  result.push_back(0);
  EXPECT_THAT(Message(ParseResult(result).status()), HasSubstr("after its end"));
}

TEST(RoundRecordTest, TakesOneForTheOtherNever) {
  EXPECT_THAT(Message(ParseResult(Stored(Checkpoint())).status()), HasSubstr("nothing of a round"));
  EXPECT_THAT(Message(ParseCheckpoint(Stored(Result())).status()), HasSubstr("nothing of a round"));
}

// Where the version stands: behind the header's length, and the kind with its own.
size_t VersionAt(std::string_view kind) { return 4 + 4 + kind.size() + 3; }

TEST(RoundRecordTest, RefusesAnotherVersionByName) {
  Bytes checkpoint = Stored(Checkpoint());
  checkpoint[VersionAt("fedtune/round-checkpoint")] = 2;
  EXPECT_THAT(Message(ParseCheckpoint(checkpoint).status()),
              HasSubstr("it is of version 2, and this program reads 1"));
  Bytes result = Stored(Result());
  result[VersionAt("fedtune/round-result")] = 0;
  EXPECT_THAT(Message(ParseResult(result).status()), HasSubstr("it is of version 0"));
}

TEST(RoundRecordTest, AsksForNoMoreMemoryThanThereAreBytes) {
  Bytes result = Stored(Result());
  const size_t count_at = result.size() - 2 * sizeof(float) - sizeof(uint64_t);
  result[count_at + 1] = 1;  // 2^48 values more.
  EXPECT_THAT(Message(ParseResult(result).status()), HasSubstr("fewer values than it says"));
  result[count_at] = 0x80;  // Negative.
  EXPECT_THAT(Message(ParseResult(result).status()), HasSubstr("what cannot be"));
}

TEST(RoundRecordTest, RefusesFactorsAndFlagsThatAreNone) {
  for (const uint8_t factors : {0, 4}) {
    RoundResult result = Result();
    result.inputs.factors = static_cast<FactorSet>(factors);
    EXPECT_THAT(Message(ParseResult(Stored(result)).status()), HasSubstr("what cannot be"));
  }
  // The flag "evaluate" stands behind run, round, adapter and factors.
  Bytes result = Stored(Result());
  const size_t at = VersionAt("fedtune/round-result") + 1 + 4 + Inputs().run.size() + 8 + 32 + 1;
  ASSERT_EQ(result[at], 1);
  result[at] = 2;
  EXPECT_THAT(Message(ParseResult(result).status()), HasSubstr("what cannot be"));
}

TEST(RoundRecordTest, SaysWhichInputIsAnother) {
  const std::vector<std::pair<std::function<void(RoundInputs&)>, std::string>> changes = {
      {[](RoundInputs& inputs) { inputs.run = "run-0072"; }, "run"},
      {[](RoundInputs& inputs) { inputs.round = 8; }, "round"},
      {[](RoundInputs& inputs) { inputs.adapter.bytes[0] ^= 1; }, "incoming adapter"},
      {[](RoundInputs& inputs) { inputs.factors = FactorSet::kB; }, "choice of factors"},
      {[](RoundInputs& inputs) { inputs.evaluate = false; }, "wish for evaluations"},
      {[](RoundInputs& inputs) { inputs.evaluate_only = true; }, "wish for evaluations"},
      {[](RoundInputs& inputs) { inputs.plan.bytes[0] ^= 1; }, "plan"},
      {[](RoundInputs& inputs) { inputs.base_model = "sha256:77ac"; }, "base model"},
      {[](RoundInputs& inputs) { inputs.layout.bytes[0] ^= 1; }, "adapter layout"},
      {[](RoundInputs& inputs) { inputs.records.bytes[0] ^= 1; }, "set of records"}};
  EXPECT_THAT(CheckSameInputs(Inputs(), Inputs()), IsOk());
  for (const auto& [change, what] : changes) {
    RoundInputs inputs = Inputs();
    change(inputs);
    EXPECT_EQ(Message(CheckSameInputs(inputs, Inputs())), "it is of another " + what);
  }
}

TEST(RoundRecordTest, AResultFitsTheLayout) {
  const AdapterLayout layout = *AdapterLayout::Create(
      {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1}});
  RoundResult result = Result();
  EXPECT_THAT(CheckFits(result, layout), IsOk());
  result.delta[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Message(CheckFits(result, layout)), HasSubstr("not finite at q_proj.lora_A[1]"));
  result.delta.push_back(1);
  EXPECT_THAT(Message(CheckFits(result, layout)), HasSubstr("3 values, not 2"));
  result.inputs.evaluate_only = true;
  EXPECT_THAT(Message(CheckFits(result, layout)), HasSubstr("3 values, not 0"));
  result.delta.clear();
  EXPECT_THAT(CheckFits(result, layout), IsOk());
}

}  // namespace
}  // namespace fedtune
