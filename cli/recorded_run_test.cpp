// SPDX-License-Identifier: Apache-2.0

#include "cli/recorded_run.h"

#include <string>

#include "cli/run_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;

// What a coordinator tells of a run of three rounds, of which the second burnt.
v1::GetRunResponse Answer() {
  v1::GetRunResponse response;
  response.set_layout_json("{\"modules\": []}");
  v1::RunStatus& run = *response.mutable_run();
  run.set_run_id("run-7f3a");
  run.set_base_digest("sha256:ab");
  run.set_rounds_done(3);
  run.set_adapter_sha256(Sha256Of("3").ToBinary());
  for (const char* adapter : {"1", "1", "3"}) {
    v1::RoundSummary& round = *response.add_rounds();
    round.set_round(response.rounds_size() - 1);
    round.set_adapter_sha256(Sha256Of(adapter).ToBinary());
  }
  response.mutable_rounds(1)->set_burnt("two dropped out");
  return response;
}

std::string Record(const v1::GetRunResponse& answer = Answer()) { return RunToJson(answer).dump(); }

TEST(ParseRecordedRunTest, ReadsWhatRunShowPrints) {
  const auto run = ParseRecordedRun(Record(), "run.json");
  ASSERT_THAT(run, IsOk()) << run.status();
  EXPECT_EQ(run->run_id, "run-7f3a");
  EXPECT_EQ(run->base_digest, "sha256:ab");
  EXPECT_EQ(run->layout_digest, Sha256Of("{\"modules\": []}"));
  EXPECT_EQ(run->adapter, Sha256Of("3"));
  ASSERT_EQ(run->rounds.size(), 3);
  EXPECT_EQ(run->rounds[1].burnt, "two dropped out");
  EXPECT_EQ(run->rounds[2].number, 3);
  EXPECT_THAT(Contradictions(*run), IsEmpty());
  EXPECT_EQ(MakerOf(*run, 3), 3);
  EXPECT_EQ(MakerOf(*run, 2), 1);
  EXPECT_EQ(run->ended, std::nullopt);
}

TEST(ParseRecordedRunTest, KnowsWhenTheRunEnded) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_ended_unix_ms(1'800'000'000'123);
  EXPECT_EQ(ParseRecordedRun(Record(answer), "run.json")->ended,
            absl::FromUnixMillis(1'800'000'000'123));
  nlohmann::json record = nlohmann::json::parse(Record());
  record["ended"] = "yesterday";
  EXPECT_THAT(std::string(ParseRecordedRun(record.dump(), "run.json").status().message()),
              HasSubstr("\"ended\" is no time"));
  record.erase("ended");
  EXPECT_THAT(ParseRecordedRun(record.dump(), "run.json"), IsOk());
}

TEST(ParseRecordedRunTest, WhoWroteItCannotWriteMoreLinesOnATerminal) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_base_model("icd\n\x1b[2Jall is well");
  EXPECT_EQ(ParseRecordedRun(Record(answer), "run.json")->base_model, R"(icd\n\x1b[2Jall is well)");
}

TEST(ParseRecordedRunTest, SaysWhatIsMissingOrNoRecord) {
  const auto refusal = [](const std::string& text) {
    const auto run = ParseRecordedRun(text, "run.json");
    EXPECT_THAT(run, HasCode(absl::StatusCode::kInvalidArgument));
    return std::string(run.status().message());
  };
  EXPECT_THAT(refusal("run-7f3a  icd10  finished"), HasSubstr("run.json"));
  EXPECT_THAT(refusal("[]"), HasSubstr("run.json: is not what \"fedtune run show RUN --json\""));
  nlohmann::json record = nlohmann::json::parse(Record());
  record["rounds"][1]["adapter"] = "sha256:12";
  EXPECT_THAT(refusal(record.dump()), HasSubstr("run.json: rounds[1]: \"adapter\" is no digest"));
  record["rounds"][1] = 7;
  EXPECT_THAT(refusal(record.dump()), HasSubstr("rounds[1]: is no object"));
  record.erase("layout_digest");
  EXPECT_THAT(refusal(record.dump()), HasSubstr("has no layout_digest"));
}

TEST(ContradictionsTest, AreFoundWhereOnePlaceOfTheRecordWasChanged) {
  const auto wrong = [](const v1::GetRunResponse& answer) {
    return Contradictions(*ParseRecordedRun(Record(answer), "run.json"));
  };
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_adapter_sha256(Sha256Of("4").ToBinary());
  EXPECT_THAT(wrong(answer), ElementsAre(HasSubstr("is not that of round 3, the last")));
  answer = Answer();
  answer.mutable_rounds()->DeleteSubrange(1, 1);
  EXPECT_THAT(wrong(answer), ElementsAre("rounds_done is 3, and there are 2 rounds",
                                         "where round 2 should be is round 3"));
  answer = Answer();
  answer.mutable_rounds(0)->set_adapter_sha256(Sha256Of("0").ToBinary());
  EXPECT_THAT(wrong(answer), ElementsAre(HasSubstr("round 2 burnt, and has another adapter")));
}

}  // namespace
}  // namespace fedtune
