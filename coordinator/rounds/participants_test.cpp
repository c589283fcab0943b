// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/participants.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Institution kAda{"ada"};
const Institution kBern{"bern"};
const Institution kCharite{"charite"};
const Institution kDelft{"delft"};
const std::vector<Institution> kAll = {kAda, kBern, kCharite, kDelft};

RoundTask TaskOf(int64_t round) { return {.round = round, .deadline = absl::ZeroDuration()}; }

OpenWork LateWork() { return {.round = 3, .adapter = {}}; }

SecureSetting RosterOf(std::map<Institution, uint32_t> numbers) {
  SecureSetting secure;
  secure.numbers = std::move(numbers);
  return secure;
}

Plan PlanOfTwo() {
  Plan plan;
  plan.rounds.count = 100;
  plan.rounds.quorum = 2;
  return plan;
}

// Four who are here and have accepted.
class ParticipantsTest : public ::testing::Test {
 protected:
  ParticipantsTest() {
    for (const Institution& each : kAll) {
      participants_.Add(each).connected = true;
      Accept(each, 7);
    }
  }

  bool Accept(const Institution& from, int64_t example_count, bool in_attempt = false) {
    return participants_.Answer(from, participants_.AnswerOf(RunAccepted{example_count}),
                                in_attempt);
  }
  bool Decline(const Institution& from, const std::string& reason, bool in_attempt = false) {
    return participants_.Answer(from, Participants::AnswerOf(RunDeclined{reason}), in_attempt);
  }

  std::vector<Institution> Asked(int64_t round, bool is_last_try = false) const {
    return participants_.Cohort(TaskOf(round), is_last_try);
  }

  void Blame(const Institution& whom, int64_t round) {
    participants_.PutBlame({whom}, round, round + 1, "it failed", Participants::Others::kAll);
  }

  Participants participants_{PlanOfTwo(), std::nullopt};
};

TEST(ParticipantsOfAPlanTest, WhomThePlanListsIsThereFromTheBeginningAndNobodyElseMayCome) {
  Plan plan = PlanOfTwo();
  plan.rounds.institutions = {"ada", "bern"};
  const Participants participants(plan, std::nullopt);
  EXPECT_EQ(participants.size(), 2);
  EXPECT_TRUE(participants.MayTakePart(kAda));
  EXPECT_FALSE(participants.MayTakePart(kCharite));
}

TEST(ParticipantsOfAPlanTest, InASecureRunOnlyWhoIsOnTheRosterIsAsked) {
  Participants participants(PlanOfTwo(), RosterOf({{kAda, 1}, {kBern, 2}}));
  for (const Institution& each : kAll) {
    participants.Add(each).connected = true;
    participants.Answer(each, participants.AnswerOf(RunAccepted{}), false);
  }
  EXPECT_THAT(participants.Cohort(TaskOf(0), false), ElementsAre(kAda, kBern));
}

TEST(ParticipantsOfAPlanTest, InASecureRunNobodyIsKnownByItsRecords) {
  const Participants participants(PlanOfTwo(), RosterOf({}));
  EXPECT_EQ(participants.AnswerOf(RunAccepted{9}).example_count, 0);
}

TEST_F(ParticipantsTest, SaysWhoIsMissingForAQuorum) {
  EXPECT_THAT(participants_.CheckQuorumIsConnected(), IsOk());
  participants_.LoseAllConnections();
  participants_.at(kBern).connected = true;
  EXPECT_THAT(std::string(participants_.CheckQuorumIsConnected().message()),
              HasSubstr("1 clients are connected (bern), the plan's quorum is 2; offline: ada"));
}

TEST_F(ParticipantsTest, CountsAnswersAsTheyChange) {
  EXPECT_TRUE(participants_.AllHaveAnswered());
  for (const Institution& each : {kAda, kBern, kCharite}) EXPECT_TRUE(Decline(each, "no"));
  EXPECT_TRUE(participants_.AllHaveAnswered());
  EXPECT_FALSE(participants_.QuorumHasAccepted());
  EXPECT_TRUE(Accept(kAda, 3));
  EXPECT_TRUE(participants_.QuorumHasAccepted());
}

TEST_F(ParticipantsTest, WhoSaysTheSameAgainChangesNothing) {
  EXPECT_FALSE(Accept(kAda, 7));
  EXPECT_TRUE(Accept(kAda, 8));
  EXPECT_TRUE(Decline(kAda, "no"));
  EXPECT_FALSE(Decline(kAda, "no"));
}

TEST_F(ParticipantsTest, WithoutRecordsItHasDeclined) {
  EXPECT_TRUE(Accept(kAda, 0));
  EXPECT_TRUE(participants_.at(kAda).declined);
  EXPECT_THAT(participants_.at(kAda).reason, HasSubstr("0 records"));
}

TEST_F(ParticipantsTest, WithinAnAttemptNobodyChangesItsMindForEver) {
  participants_.ForgetLastAttempt();
  int heard = 0;
  for (int i = 0; i < 50; ++i) heard += Accept(kAda, 100 + i, true) ? 1 : 0;
  EXPECT_EQ(heard, 16);
  participants_.ForgetLastAttempt();
  EXPECT_TRUE(Accept(kAda, 1, true));
}

TEST_F(ParticipantsTest, WhoDeclinesHasNoLateWork) {
  participants_.at(kAda).work = LateWork();
  Decline(kAda, "no");
  EXPECT_FALSE(participants_.at(kAda).work.has_value());
}

TEST_F(ParticipantsTest, AsksThoseWhoAreHereWhereTheyAreAQuorum) {
  participants_.at(kDelft).connected = false;
  EXPECT_THAT(Asked(0), ElementsAre(kAda, kBern, kCharite));
  participants_.LoseAllConnections();
  participants_.at(kAda).connected = true;
  EXPECT_EQ(Asked(0), kAll);
}

TEST_F(ParticipantsTest, WhoIsLateIsAskedWhateverTheLotsSay) {
  Plan plan = PlanOfTwo();
  plan.rounds.cohort_size = 2;
  participants_ = Participants(plan, std::nullopt);
  for (const Institution& each : kAll) {
    participants_.Add(each).connected = true;
    Accept(each, 7);
    participants_.at(each).work = LateWork();
  }
  EXPECT_EQ(Asked(4), kAll);
}

TEST_F(ParticipantsTest, SitsOutTwiceAsLongEachTimeAndNotForEver) {
  std::vector<int64_t> away;
  for (int i = 0; i < 6; ++i) {
    Blame(kAda, 10);
    away.push_back(participants_.at(kAda).blame->back_in_round - 11);
  }
  EXPECT_THAT(away, ElementsAre(1, 2, 4, 8, 16, 16));
}

TEST_F(ParticipantsTest, IsAskedAgainWhenItsTimeIsOver) {
  Blame(kAda, 10);
  EXPECT_THAT(Asked(11), ElementsAre(kBern, kCharite, kDelft));
  EXPECT_THAT(participants_.SittingOutText(participants_.at(kAda), 11),
              HasSubstr("sits out until round 13: it failed"));
  EXPECT_EQ(Asked(12), kAll);
  EXPECT_EQ(participants_.SittingOutText(participants_.at(kAda), 12), "");
}

TEST_F(ParticipantsTest, NobodySitsOutWhereTheOthersAreTooFew) {
  for (const Institution& each : {kAda, kBern, kCharite}) Blame(each, 10);
  EXPECT_EQ(Asked(11), kAll);
  EXPECT_THAT(participants_.PutBlame(kAll, 11, 12, "all of them", Participants::Others::kConnected),
              IsEmpty());
}

TEST_F(ParticipantsTest, APlainEvaluationIsNothingToSitOut) {
  Blame(kAda, 99);
  RoundTask task = TaskOf(100);
  task.evaluate_only = true;
  EXPECT_EQ(participants_.Cohort(task, false), kAll);
}

TEST_F(ParticipantsTest, ThoseWhoHaveAgreedAreTooManyWhereTheOthersAreNoQuorum) {
  participants_.at(kAda).agreed_rounds = 3;
  participants_.at(kBern).agreed_rounds = 3;
  EXPECT_EQ(participants_.CountAgreed(2), 2);
  EXPECT_FALSE(participants_.IsAgreedByTooMany(2, 1));
  participants_.at(kCharite).agreed_rounds = 3;
  EXPECT_TRUE(participants_.IsAgreedByTooMany(2, 3));
  EXPECT_FALSE(participants_.IsAgreedByTooMany(2, 4));
  EXPECT_FALSE(participants_.IsAgreedByTooMany(3, 1));
}

TEST_F(ParticipantsTest, WhatIsStoredOfAnAttemptBringsThemBack) {
  Blame(kAda, 10);
  Decline(kBern, "no");
  participants_.at(kCharite).work = LateWork();
  const OpenRound round(TaskOf(11), {kCharite, kDelft});
  Participants restored(PlanOfTwo(), std::nullopt);
  for (const auto& member : participants_.MembersOf(round)) restored.Restore(member);
  EXPECT_EQ(restored.MembersOf(round), participants_.MembersOf(round));
  EXPECT_EQ(restored.Between(), participants_.Between());
  EXPECT_EQ(restored.Cohort(TaskOf(12), false), Asked(12));
  EXPECT_TRUE(restored.AllHaveAnswered());
}

}  // namespace
}  // namespace fedtune::testing
