// SPDX-License-Identifier: Apache-2.0

#include "cli/log_verification.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "cli/log_text.h"
#include "cli/run_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/signed_log.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::AdapterAfter;
using testing::AddRun;
using testing::BeginLog;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::SignedLog;

constexpr char kRun[] = "run-7f3a";

class LogVerificationTest : public ::testing::Test {
 protected:
  LogVerificationTest() {
    BeginLog(log_);
    AddRun(log_, kRun, 3);
    AddRun(log_, "run-8a00", 1);
  }

  std::filesystem::path Put(const std::string& name, const std::string& content) const {
    const std::filesystem::path path = folder_.path() / name;
    EXPECT_THAT(WriteFileAtomically(path, content), IsOk());
    return path;
  }

  // What an institution's client has kept when the log had so many entries.
  void Keep(const std::string& name, const SignedLog& log, size_t size) {
    files_.checkpoints.push_back(Put(name, LogFileHeader(log.checkpoint(size))));
  }

  // The record of kRun, as a coordinator tells it.
  static v1::GetRunResponse Answer(int64_t rounds = 3) {
    v1::GetRunResponse response;
    response.set_layout_json("{\"modules\": []}");
    response.set_plan_toml("name = \"icd10\"");
    v1::RunStatus& run = *response.mutable_run();
    run.set_run_id(kRun);
    run.set_base_digest("sha256:ab");
    run.set_rounds_done(rounds);
    run.set_adapter_sha256(AdapterAfter(rounds, kRun).ToBinary());
    for (int64_t round = 0; round < rounds; ++round) {
      v1::RoundSummary& summary = *response.add_rounds();
      summary.set_round(round);
      summary.set_attempts(1);
      summary.set_contributions(2);
      summary.set_adapter_sha256(AdapterAfter(round + 1, kRun).ToBinary());
    }
    return response;
  }

  void Record(const v1::GetRunResponse& answer) {
    files_.records = {Put("run.json", RunToJson(answer).dump())};
  }

  absl::StatusOr<LogVerification> Verify(const std::string& text) {
    files_.log = Put("north.log", text);
    return VerifyLog(files_, log_.authority_pem());
  }

  // Why it is refused, with the exit code 3.
  std::string Refusal(const std::string& text) {
    const auto verification = Verify(text);
    EXPECT_EQ(ExitCodeFor(verification.status()), 3) << verification.status();
    return std::string(verification.status().message());
  }
  std::string Refusal(const SignedLog& log) { return Refusal(log.FileText()); }

  const testing::TemporaryDirectory folder_;
  LogFiles files_;
  SignedLog log_;
};

TEST_F(LogVerificationTest, ALogIsWhatItsCoordinatorHasSigned) {
  const auto verification = Verify(log_.FileText());
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_EQ(verification->runs, 2u);
  EXPECT_EQ(verification->rounds, 4u);
  const std::string text = LogVerificationText(*verification, "north.log");
  EXPECT_THAT(text, HasSubstr("north.log is the log of federation north as coordinator hub"));
  EXPECT_THAT(text, HasSubstr("2, with 4 rounds released, all in order\n"));
  EXPECT_THAT(text, Not(HasSubstr("clock")));
  const auto json = LogVerificationToJson(*verification, "north.log");
  EXPECT_EQ(json["entries"], log_.entries.size());
  EXPECT_EQ(json["root"], log_.head(log_.entries.size()).root.ToString());
  EXPECT_EQ(json["log_id"], "5eed");
  EXPECT_EQ(json["first"], "2027-01-15T08:00:00.000Z");
}

TEST_F(LogVerificationTest, AByteThatWasChangedIsSeen) {
  std::string text = log_.FileText();
  const size_t at = text.find("uke");
  text.replace(at, 3, "ukb");
  EXPECT_THAT(Refusal(text),
              HasSubstr("north.log is not the log that coordinator hub has signed: its 21 entries "
                        "have the root sha256:"));
  text = log_.FileText();
  text.replace(text.find("\"at\""), 4, "\"aT\"");
  EXPECT_THAT(Refusal(text), HasSubstr("were changed\n" + files_.log.string() + ":2: "));
}

TEST_F(LogVerificationTest, EntriesThatWereRemovedAddedOrSwappedAreSeen) {
  const SignedCheckpoint checkpoint = log_.checkpoint();
  SignedLog changed = log_;
  changed.entries.pop_back();
  EXPECT_THAT(Refusal(changed.FileText(checkpoint)), HasSubstr("it has 20 entries, and not 21"));
  changed = log_;
  changed.entries.erase(changed.entries.begin() + 3);
  EXPECT_THAT(Refusal(changed.FileText(checkpoint)), HasSubstr("it has 20 entries, and not 21"));
  changed = log_;
  changed.entries.push_back(changed.entries.back());
  EXPECT_THAT(Refusal(changed.FileText(checkpoint)), HasSubstr("it has 22 entries, and not 21"));
  changed = log_;
  std::swap(changed.entries[3], changed.entries[4]);
  EXPECT_THAT(Refusal(changed.FileText(checkpoint)), HasSubstr("were changed"));
  std::string cut = log_.FileText();
  cut.resize(cut.size() - 3);
  EXPECT_THAT(Refusal(cut), HasSubstr("north.log:22: the text ends within it"));
}

TEST_F(LogVerificationTest, SaysHowMuchOfAChangedLogAnInstitutionHasSeen) {
  Keep("st-anna.json", log_, 9);
  Keep("uke.json", log_, 3);
  std::string text = log_.FileText();
  text.replace(text.find("run-8a00"), 8, "run-8a01");
  EXPECT_THAT(Refusal(text), HasSubstr("; the first 9 are as " + files_.checkpoints[0].string()));
  text = log_.FileText();
  text.replace(text.find("\"uke\""), 5, "\"ukb\"");
  const std::string why = Refusal(text);
  EXPECT_THAT(why, HasSubstr("; the first 3 are as " + files_.checkpoints[1].string()));
  EXPECT_THAT(why, Not(HasSubstr("two logs")));
}

TEST_F(LogVerificationTest, TheHeadOfAnotherLogIsNotThatOfThisOne) {
  SignedLog other = log_;
  other.Add(PauseAsked{.run = kRun, .reason = ""});
  EXPECT_THAT(Refusal(log_.FileText(other.checkpoint())), HasSubstr("21 entries, and not 22"));
  SignedLog another_federation("south");
  BeginLog(another_federation);
  EXPECT_THAT(Refusal(another_federation), HasSubstr("north.log: "));
  SignedCheckpoint changed = log_.checkpoint();
  changed.note.replace(changed.note.find("21"), 2, "20");
  EXPECT_THAT(Refusal(log_.FileText(changed)), HasSubstr("north.log: "));
  changed.note = "no note";
  EXPECT_THAT(Refusal(log_.FileText(changed)), HasSubstr("north.log: "));
}

TEST_F(LogVerificationTest, WhatInstitutionsHaveSeenIsTheBeginningOfTheLog) {
  Keep("st-anna.json", log_, 9);
  Keep("uke.json", log_, 21);
  Keep("empty.json", log_, 0);
  const auto verification = Verify(log_.FileText());
  ASSERT_THAT(verification, IsOk()) << verification.status();
  const std::string text = LogVerificationText(*verification, "north.log");
  EXPECT_THAT(text, HasSubstr("st-anna.json: the first 9 are those that it has seen"));
  EXPECT_THAT(text, HasSubstr("uke.json: the first 21 are those that it has seen"));
  EXPECT_EQ(LogVerificationToJson(*verification, "north.log")["checkpoints"][1]["entries"], 21);
}

TEST_F(LogVerificationTest, ALogThatWasRolledBackIsShorterThanWhatWasSeen) {
  SignedLog longer = log_;
  longer.Add(PauseAsked{.run = kRun, .reason = ""});
  Keep("st-anna.json", log_, 9);
  Keep("uke.json", longer, 22);
  const std::string why = Refusal(log_);
  EXPECT_THAT(why, HasSubstr("uke.json has 22 entries, and "));
  EXPECT_THAT(why, HasSubstr("the log was rolled back"));
  EXPECT_THAT(why, Not(HasSubstr("st-anna.json")));
}

TEST_F(LogVerificationTest, ALogWithTwoFacesIsFoundByWhoHasSeenTheOther) {
  SignedLog other = log_;
  other.entries.resize(12);
  AddRun(other, "run-secret", 2);
  Keep("st-anna.json", log_, 14);
  Keep("uke.json", other, 14);
  const std::string why = Refusal(log_);
  EXPECT_THAT(why, HasSubstr("uke.json is of another log: its 14 entries have the root sha256:"));
  EXPECT_THAT(why, Not(HasSubstr("st-anna.json")));
}

TEST_F(LogVerificationTest, ACheckpointThatTheCoordinatorHasNotSignedIsNamed) {
  const SignedLog impostor;
  files_.checkpoints = {Put("uke.json", LogFileHeader(impostor.Sign(log_.head(3))))};
  EXPECT_THAT(Refusal(log_), HasSubstr("uke.json: "));
  files_.checkpoints = {Put("uke.json", "{}")};
  EXPECT_EQ(ExitCodeFor(Verify(log_.FileText()).status()), 2);
  files_.checkpoints = {folder_.path() / "none.json"};
  EXPECT_EQ(ExitCodeFor(Verify(log_.FileText()).status()), 2);
}

TEST_F(LogVerificationTest, ACoordinatorThatSignsWhatCannotHaveHappenedIsFound) {
  log_.Add(RunResumed{kRun});
  log_.entries.emplace_back("{\"at\": 1}");
  const std::string why = Refusal(log_);
  EXPECT_THAT(why, HasSubstr("north.log:23: run-7f3a resumed: run-7f3a had ended\n"));
  EXPECT_THAT(why, HasSubstr("north.log:24: "));
  for (int i = 0; i < 30; ++i) log_.Add(RunResumed{kRun});
  EXPECT_THAT(Refusal(log_), HasSubstr("\nand 12 more"));
}

TEST_F(LogVerificationTest, ClocksMayBeSetBackAndNewerVersionsKnowMoreEvents) {
  log_.now -= absl::Seconds(90);
  log_.Add(LogEvent(RunStarted{.run = "run-9",
                               .plan = {},
                               .layout = {},
                               .base_digest = "",
                               .adapter = {},
                               .started_by = "ada"}));
  log_.entries.emplace_back(
      R"({"at":"2027-01-15T09:00:00.000Z","event":"client praised","institution":"uke"})");
  const auto verification = Verify(log_.FileText());
  ASSERT_THAT(verification, IsOk()) << verification.status();
  const std::string text = LogVerificationText(*verification, "north.log");
  EXPECT_THAT(text, HasSubstr("set back 1 time, by 1 min 29 s at most"));
  EXPECT_THAT(text, HasSubstr("1 event by a newer version"));
}

TEST_F(LogVerificationTest, RecordsAgreeWithTheLog) {
  Record(Answer());
  const auto verification = Verify(log_.FileText());
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_THAT(LogVerificationText(*verification, "north.log"),
              HasSubstr("run.json: 3 of 3 rounds of run-7f3a are in the log, and agree"));
  Record(Answer(2));
  EXPECT_THAT(Verify(log_.FileText()), IsOk());
}

TEST_F(LogVerificationTest, ARecordThatDiffersIsNamedWithWhatDiffers) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_rounds(1)->set_contributions(3);
  answer.mutable_rounds(1)->set_attempts(2);
  answer.mutable_rounds(0)->set_adapter_sha256(AdapterAfter(9, kRun).ToBinary());
  answer.set_plan_toml("name = \"another\"");
  Record(answer);
  const std::string why = Refusal(log_);
  EXPECT_THAT(why, HasSubstr("run.json: run-7f3a has the plan sha256:"));
  EXPECT_THAT(why, HasSubstr("run.json: round 1 of run-7f3a has the adapter sha256:"));
  EXPECT_THAT(why, HasSubstr("round 2 of run-7f3a has the attempt 2 in the record, and 1 in"));
  EXPECT_THAT(why, HasSubstr("has contributions 3 in the record, and 2 in the log"));
  answer = Answer();
  answer.mutable_rounds(1)->set_burnt("lost");
  answer.mutable_rounds(1)->set_adapter_sha256(AdapterAfter(1, kRun).ToBinary());
  Record(answer);
  EXPECT_THAT(Refusal(log_), HasSubstr("as why it burnt \"lost\" in the record"));
}

TEST_F(LogVerificationTest, ARecordMayNotHaveMoreThanTheLogButForRoundsOfBefore) {
  Record(Answer(4));
  EXPECT_THAT(Refusal(log_), HasSubstr("round 4 of run-7f3a is not in the log"));
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_run_id("run-0000");
  Record(answer);
  EXPECT_THAT(Refusal(log_), HasSubstr("the log knows nothing of run-0000"));
  log_.entries.erase(log_.entries.begin() + 2, log_.entries.begin() + 10);
  Record(Answer());
  const auto verification = Verify(log_.FileText());
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_THAT(LogVerificationText(*verification, "north.log"), HasSubstr("1 of 3 rounds of"));
}

TEST_F(LogVerificationTest, ARunThatEndedBeforeTheLogBeganIsNeitherConfirmedNorRefused) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_run_id("run-0000");
  answer.mutable_run()->set_ended_unix_ms(1'799'999'999'999);
  Record(answer);
  const auto verification = Verify(log_.FileText());
  EXPECT_EQ(ExitCodeFor(verification.status()), 1);
  EXPECT_EQ(verification.status().message(),
            files_.records[0].string() +
                ": run-0000 had ended before the log began: it says nothing of this run, for or "
                "against the record\nall else is as it should be");
  log_.Add(RunResumed{kRun});
  EXPECT_THAT(Refusal(log_), Not(HasSubstr("as it should be")));
}

TEST_F(LogVerificationTest, ARunThatEndedLaterThanTheLogBeganIsMissedInIt) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_run()->set_run_id("run-0000");
  answer.mutable_run()->set_ended_unix_ms(1'800'000'000'000);
  Record(answer);
  EXPECT_THAT(Refusal(log_), HasSubstr("the log knows nothing of run-0000"));
}

TEST_F(LogVerificationTest, ARecordCannotPassForOlderThanALogThatHasItsRun) {
  v1::GetRunResponse answer = Answer();
  answer.mutable_rounds(1)->set_contributions(3);
  answer.mutable_run()->set_ended_unix_ms(1);
  Record(answer);
  EXPECT_THAT(Refusal(log_), HasSubstr("has contributions 3 in the record"));
}

TEST_F(LogVerificationTest, FilesThatAreNotThereOrNoneOfTheirKindAreNamed) {
  EXPECT_EQ(ExitCodeFor(Verify("{}\n").status()), 2);
  files_.log = folder_.path() / "none";
  EXPECT_EQ(ExitCodeFor(VerifyLog(files_, log_.authority_pem()).status()), 2);
  files_.log = Put("north.log", log_.FileText());
  EXPECT_EQ(ExitCodeFor(VerifyLog(files_, "no certificate").status()), 2);
}

// FEDTUNE_LOG_ENTRIES is how long, for measurements.
TEST_F(LogVerificationTest, ReadsLongLogs) {
  const char* const wanted = std::getenv("FEDTUNE_LOG_ENTRIES");
  const size_t most = wanted == nullptr ? 5'000 : std::strtoul(wanted, nullptr, 10);
  for (int run = 0; log_.entries.size() < most; ++run) {
    AddRun(log_, "run-" + std::to_string(run), 100);
  }
  files_.log = Put("north.log", log_.FileText());
  double last = 0;
  const absl::Time start = absl::Now();
  const auto verification =
      VerifyLog(files_, log_.authority_pem(), [&last](double share) { last = share; });
  RecordProperty("seconds", absl::FormatDuration(absl::Now() - start));
  ASSERT_THAT(verification, IsOk()) << verification.status();
  EXPECT_EQ(verification->checkpoint.head.size, log_.entries.size());
  EXPECT_GT(last, 0);
  EXPECT_LT(last, 1);
}

TEST(LogEntryTextTest, IsForPeopleAndMovesNoCursor) {
  const std::string entry =
      WriteLogEntry({.at = absl::FromUnixSeconds(1'800'000'000), .event = RunResumed{kRun}});
  EXPECT_EQ(LogEntryText(entry), "2027-01-15T08:00:00.000Z  run-7f3a resumed");
  EXPECT_EQ(LogEntryJson(entry), entry);
  EXPECT_THAT(LogEntryText("\x1b[2J"), HasSubstr(R"(\x1b[2J)"));
  EXPECT_EQ(LogEntryJson("{\"a\":\"\x7f\"}"), "{\"a\":\"\\u007f\"}");
  EXPECT_EQ(LogEntryJson("\x1b"), R"("\\x1b")");
}

}  // namespace
}  // namespace fedtune
