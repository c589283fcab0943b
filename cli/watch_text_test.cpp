// SPDX-License-Identifier: Apache-2.0

#include "cli/watch_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cli/run_text.h"

namespace fedtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A run of 12 rounds with a quorum of 2 in its third round.
v1::RunStatus ThirdRound() {
  v1::RunStatus run;
  run.set_run_id("run-7f3a");
  run.set_plan_name("icd10");
  run.set_state(v1::RunStatus::STATE_RUNNING);
  run.set_phase("training");
  run.set_rounds_done(2);
  run.set_round_count(12);
  run.set_attempt(1);
  run.set_quorum(2);
  run.set_round_deadline_ms(6 * 3600 * 1000);
  run.set_time_left_ms(100 * 1000);
  return run;
}

v1::RunClient& Add(v1::RunStatus& run, const std::string& name, const std::string& state) {
  v1::RunClient& client = *run.add_clients();
  client.set_institution(name);
  client.set_state(state);
  client.set_awaited(state != "done" && state != "failed" && state != "declined");
  return client;
}

TEST(WatchTextTest, SaysWhoRefusesTheLogAndThatTheRunWaitsForThem) {
  v1::RunStatus run = ThirdRound();
  run.set_state(v1::RunStatus::STATE_INVITING);
  run.set_phase("inviting");
  run.set_time_left_ms(0);
  run.set_invited_count(2);
  run.set_accepted_count(1);
  run.set_reason("1 of the 2 institutions needed take part");
  Add(run, "uke", "refusing").set_reason("it was rolled back");
  const std::string block = WatchBlock(run, Colour::kNo);
  EXPECT_THAT(block, ::testing::StartsWith(
                         "inviting clients   1 of 2 accepted\n"
                         "  the coordinator waits: 1 of the 2 institutions needed take part\n"));
  EXPECT_THAT(block, ::testing::HasSubstr("refusing: it was rolled back"));
}

TEST(WatchTextTest, ShowsWhereEachClientIs) {
  v1::RunStatus run = ThirdRound();
  v1::RunClient& charite = Add(run, "charite", "training");
  charite.set_fraction(0.84);
  charite.set_tokens_per_second(2140);
  Add(run, "uke", "done");
  Add(run, "helios", "waiting").set_reason("waiting for its hours (20:00-06:00), 42 min");
  Add(run, "st-anna", "declined").set_reason("its policy allows at most 8");
  EXPECT_EQ(WatchBlock(run, Colour::kNo),
            "round 3/12   training   1 of 3 clients done   ends in 1 min 40 s at the latest "
            "(deadline 6 h)\n"
            "  charite  #################...   84 %   training   2,140 tok/s\n"
            "  uke      ####################         done\n"
            "  helios   waiting for its hours (20:00-06:00), 42 min\n"
            "  st-anna  declined: its policy allows at most 8\n");
}

TEST(WatchTextTest, SaysWithHowManyTheRoundCloses) {
  v1::RunStatus run = ThirdRound();
  Add(run, "charite", "training");
  Add(run, "uke", "done");
  run.set_close_at(2);
  EXPECT_THAT(WatchLine(run), HasSubstr("1 of 2 clients done, closes with 2 "));
}

TEST(WatchTextTest, SaysThatTheRunPausesWhenTheRoundIsOver) {
  v1::RunStatus run = ThirdRound();
  Add(run, "uke", "done");
  const v1::RunStatus before = run;
  run.set_pausing(true);
  run.set_reason("maintenance");
  EXPECT_THAT(WatchBlock(run, Colour::kNo),
              HasSubstr("\n  pauses when round 3 of 12 is over: maintenance\n"));
  EXPECT_THAT(WatchNews(before, run),
              ElementsAre("the run pauses when round 3 of 12 is over: maintenance"));
  EXPECT_THAT(WatchNews(run, before), ElementsAre("the run does not pause after all"));
}

TEST(WatchTextTest, SaysWhatTheCoordinatorWaitsFor) {
  v1::RunStatus run = ThirdRound();
  const v1::RunStatus before = run;
  run.set_reason("disk full: cannot take 4.4 MB");
  const std::string text = "the coordinator waits: disk full: cannot take 4.4 MB";
  EXPECT_THAT(WatchBlock(run, Colour::kNo), HasSubstr("\n  " + text + "\n"));
  EXPECT_THAT(WatchLine(run), HasSubstr("   " + text));
  EXPECT_THAT(WatchNews(before, run), ElementsAre(text));
  EXPECT_THAT(WatchNews(run, run), IsEmpty());
}

TEST(WatchTextTest, SaysThatTheRunIsPausedAndThatItIsResumed) {
  v1::RunStatus run = ThirdRound();
  run.set_state(v1::RunStatus::STATE_PAUSED);
  run.set_phase("");
  run.set_attempt(0);
  run.set_time_left_ms(0);
  run.set_reason("maintenance");
  EXPECT_EQ(WatchBlock(run, Colour::kNo), "paused after 2 of 12 rounds: maintenance\n");
  EXPECT_EQ(WatchLine(run), "run-7f3a  paused after 2 of 12 rounds: maintenance");
  EXPECT_THAT(WatchNews(run, ThirdRound()), ElementsAre("the run is resumed"));
}

TEST(WatchTextTest, SaysWhereATrainingGoesOn) {
  v1::RunStatus run = ThirdRound();
  v1::RunClient& charite = Add(run, "charite", "training");
  charite.set_fraction(0.5);
  charite.set_tokens_per_second(900);
  charite.set_reason("goes on at step 120 of 400");
  EXPECT_THAT(WatchBlock(run, Colour::kNo),
              HasSubstr("50 %   training   900 tok/s   goes on at step 120 of 400\n"));
}

TEST(WatchTextTest, SaysWhoIsAwaitedHowLongAndWhatThen) {
  v1::RunStatus run = ThirdRound();
  Add(run, "charite", "done");
  Add(run, "uke", "offline");
  EXPECT_THAT(WatchBlock(run, Colour::kNo),
              HasSubstr("  waiting for uke (offline); the quorum is 2\n"));
  Add(run, "helios", "done");
  EXPECT_THAT(WatchBlock(run, Colour::kNo),
              HasSubstr("  waiting for uke (offline); at the deadline the round closes with the "
                        "2 that are done\n"));
  EXPECT_EQ(WatchLine(run),
            "run-7f3a  round 3/12   training   2 of 3 clients done   ends in 1 min 40 s at the "
            "latest (deadline 6 h)   "
            "waiting for uke (offline)");
}

TEST(WatchTextTest, NamesOfManyThatAreAwaitedAreCounted) {
  v1::RunStatus run = ThirdRound();
  for (const char* name : {"a", "b", "c", "d", "e"}) Add(run, name, "offline");
  EXPECT_THAT(WatchLine(run), HasSubstr("waiting for a (offline), b (offline), c (offline) and 2 "
                                        "others"));
}

TEST(WatchTextTest, WhoIsAtWorkIsNotNamedBesideWhoIsGone) {
  v1::RunStatus run = ThirdRound();
  Add(run, "charite", "training");
  Add(run, "uke", "offline");
  EXPECT_THAT(WatchLine(run), HasSubstr("waiting for uke (offline)"));
}

TEST(WatchTextTest, TheLastOnesOfALongRoundAreNamed) {
  v1::RunStatus run = ThirdRound();
  Add(run, "charite", "done");
  Add(run, "uke", "done");
  Add(run, "helios", "training");
  EXPECT_THAT(WatchLine(run), HasSubstr("waiting for helios"));
  run.set_time_left_ms(run.round_deadline_ms() - 1000);
  EXPECT_THAT(WatchLine(run), Not(HasSubstr("waiting")));
}

TEST(WatchTextTest, NobodyIsNamedWhileAllAreAtWork) {
  v1::RunStatus run = ThirdRound();
  Add(run, "charite", "training");
  Add(run, "uke", "done");
  EXPECT_THAT(WatchBlock(run, Colour::kNo), Not(HasSubstr("waiting")));
}

TEST(WatchTextTest, SaysWhatTheRunDoesBetweenAndAfterTheRounds) {
  v1::RunStatus run = ThirdRound();
  run.set_time_left_ms(0);
  run.set_phase("releasing");
  EXPECT_EQ(WatchLine(run), "run-7f3a  round 3/12   making the next adapter");
  run.set_phase("aggregating");
  run.set_time_left_ms(5'000);
  EXPECT_EQ(WatchLine(run),
            "run-7f3a  round 3/12   adding up masked contributions   0 of 0 clients done   ends in "
            "5.0 s at the latest");
  run.set_rounds_done(12);
  run.set_phase("evaluating");
  run.set_time_left_ms(5'000);
  Add(run, "charite", "done");
  Add(run, "uke", "evaluating");
  EXPECT_EQ(WatchLine(run),
            "run-7f3a  final evaluation   1 of 2 clients done   ends in 5.0 s at the latest "
            "(deadline 6 h)");
}

TEST(WatchTextTest, ColourIsOnlyWhereItIsAskedFor) {
  v1::RunStatus run = ThirdRound();
  Add(run, "uke", "offline");
  EXPECT_THAT(WatchBlock(run, Colour::kNo), Not(HasSubstr("\x1b")));
  EXPECT_THAT(WatchBlock(run, Colour::kYes), HasSubstr("\x1b[31moffline\x1b[0m"));
}

TEST(WatchTextTest, TellsWhatAWatcherMustNotMiss) {
  v1::RunStatus before = ThirdRound();
  Add(before, "charite", "training");
  Add(before, "uke", "training");
  v1::RunStatus now = ThirdRound();
  Add(now, "charite", "failed").set_reason("out of memory");
  Add(now, "uke", "offline");
  Add(now, "st-anna", "declined").set_reason("rank 16");
  EXPECT_THAT(WatchNews(before, now),
              ElementsAre("charite failed: out of memory",
                          "uke went offline; the round waits for it", "st-anna declined: rank 16"));
  EXPECT_THAT(WatchNews(now, before), ElementsAre("uke is back"));
  EXPECT_THAT(WatchNews(now, now), IsEmpty());
}

TEST(WatchTextTest, TellsOnceThatARoundHasBurnt) {
  v1::RunStatus before;
  before.set_run_id("run-1");
  v1::RunStatus now = before;
  now.mutable_last_round()->set_round(2);
  now.mutable_last_round()->set_burnt("too few agreed");
  EXPECT_THAT(WatchNews(before, now),
              ElementsAre("round 3 burnt, and left the adapter as it was: too few agreed"));
  EXPECT_THAT(WatchNews(now, now), IsEmpty());
}

TEST(WatchTextTest, NobodyIsBackBecauseTheRunHasEnded) {
  v1::RunStatus before = ThirdRound();
  Add(before, "uke", "offline");
  v1::RunStatus now = ThirdRound();
  now.set_ended_unix_ms(1);
  Add(now, "uke", "done");
  EXPECT_THAT(WatchNews(before, now), IsEmpty());
}

TEST(WatchTextTest, AnOlderEvaluationIsNotTheEndsResult) {
  v1::RunStatus run = ThirdRound();
  run.set_state(v1::RunStatus::STATE_FINISHED);
  run.set_reason("the final evaluation is missing: uke did not answer");
  run.mutable_last_evaluation()->set_round(1);
  run.mutable_last_evaluation()->set_loss(0.444);
  run.mutable_last_evaluation()->set_example_count(9);
  EXPECT_EQ(EndText(run),
            "run-7f3a finished after 2 of 12 rounds: the final evaluation is missing: uke did not "
            "answer; after 1 of the rounds loss 0.444 over 9 records of the clients' own "
            "validation splits");
}

TEST(WatchTextTest, AccuracyIsSaidToBeAmongTheOwnAnswers) {
  v1::RunStatus run = ThirdRound();
  run.set_state(v1::RunStatus::STATE_FINISHED);
  run.mutable_last_evaluation()->set_round(2);
  run.mutable_last_evaluation()->set_loss(0.444);
  run.mutable_last_evaluation()->set_accuracy(0.763);
  run.mutable_last_evaluation()->set_example_count(1287);
  EXPECT_EQ(EndText(run),
            "run-7f3a finished after 2 of 12 rounds; loss 0.444, accuracy 76.3 % among each "
            "client's own answers over 1,287 records of the clients' own validation splits");
}

TEST(RunTableTest, CountsTheClientsThatTakePart) {
  v1::ListRunsResponse runs;
  v1::RunStatus run = ThirdRound();
  run.set_accepted_count(4);
  run.set_invited_count(6);
  run.set_started_unix_ms(1'000'000);
  *runs.add_runs() = run;
  EXPECT_EQ(RunTable(runs, absl::FromUnixMillis(1'000'000) + absl::Hours(2)),
            "RUN       PLAN   STATE    ROUND  CLIENTS  LOSS  STARTED\n"
            "run-7f3a  icd10  running  2/12   4/6      -     2 h ago\n");
}

}  // namespace
}  // namespace fedtune
