// SPDX-License-Identifier: Apache-2.0

// Clients because of which attempts and rounds come to nothing sit out.

#include <algorithm>
#include <string>
#include <vector>

#include "fmt/ranges.h"
#include "tests/support/run_fixture.h"
#include "tests/support/run_journal.h"
#include "tests/support/secure_run_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Two of four are asked in a round, and both are needed.
class PlainBlameTest : public RunTest {
 protected:
  PlainBlameTest() {
    plan_.rounds.count = 200;
    plan_.rounds.cohort_size = 2;
  }

  std::vector<Institution> Asked() const {
    std::vector<Institution> asked;
    for (const ClientView& client : run_->view().clients) {
      if (client.awaited) asked.push_back(client.institution);
    }
    return asked;
  }

  // The first of those who are asked; the lots say who that is.
  Institution OneFails() {
    const Institution failing = Asked().front();
    last_ = Fail(failing);
    return failing;
  }

  void RoundCounts() {
    for (const Institution& each : Asked()) Contribute(each);
    ReleaseDone();
  }

  // Reaches the next round in which it is asked, and fails there.
  void FailsAgain(const Institution& failing) {
    while (run_->CheckContribution(failing, Header(failing)).status().code() ==
           absl::StatusCode::kPermissionDenied) {
      RoundCounts();
    }
    Fail(failing);
  }

  std::vector<std::string> last_;
};

TEST_F(PlainBlameTest, TheNextAttemptIsMadeWithoutWhoFailed) {
  StartWith({kCharite, kUke, kHelios, kStAnna});
  const Institution failing = OneFails();
  EXPECT_THAT(last_, Contains("open 0.2: B"));
  EXPECT_THAT(last_, Not(Contains(StartsWith("assign " + failing.value))));
  EXPECT_THAT(last_, Contains(fmt::format(
                         "sit out {0} until 1: round 1 was tried again: {0} failed: out of memory",
                         failing.value)));
  EXPECT_EQ(ViewOf(failing).reason,
            fmt::format("sits out until round 2: round 1 was tried again: {} failed: out of memory",
                        failing.value));
}

TEST_F(PlainBlameTest, OrWhoHasNotAnswered) {
  StartWith({kCharite, kUke, kHelios, kStAnna});
  const std::vector<Institution> asked = Asked();
  Contribute(asked.front());
  Advance(absl::Hours(1));
  EXPECT_EQ(run_->view().attempt, 2);
  EXPECT_THAT(Asked(), Not(Contains(asked.back())));
  EXPECT_THAT(ViewOf(asked.back()).reason, HasSubstr(" did not answer"));
}

TEST_F(PlainBlameTest, NotWhoWasStillAtWork) {
  StartWith({kCharite, kUke, kHelios, kStAnna});
  const Institution at_work = Asked().back();
  OneFails();
  EXPECT_EQ(ViewOf(at_work).reason, "");
}

TEST_F(PlainBlameTest, SitsOutTwiceAsLongEachTimeUpToSixteenRounds) {
  StartWith({kCharite, kUke, kHelios, kStAnna});
  const Institution failing = OneFails();
  for (const int64_t rounds : {2, 4, 8, 16, 16}) {
    FailsAgain(failing);
    const int64_t back = run_->view().rounds_done + rounds;
    while (run_->view().rounds_done < back) {
      EXPECT_THAT(ViewOf(failing).reason, HasSubstr(fmt::format("until round {}:", back + 1)));
      EXPECT_THAT(Asked(), Not(Contains(failing)));
      RoundCounts();
    }
    EXPECT_EQ(ViewOf(failing).reason, "");
  }
}

TEST_F(PlainBlameTest, EveryoneIsAskedWhereTheOthersAreNoQuorum) {
  StartWith({kCharite, kUke});
  const Institution failing = OneFails();
  EXPECT_THAT(last_, Contains(StartsWith("assign " + failing.value)));
  EXPECT_THAT(last_, Not(Contains(StartsWith("sit out"))));
}

TEST_F(PlainBlameTest, AndWhereTheyHaveGoneSince) {
  StartWith({kCharite, kUke, kHelios});
  const Institution failing = OneFails();
  RoundCounts();
  FailsAgain(failing);
  const Institution leaving = Asked().front();
  for (const Institution& each : Asked()) Contribute(each);
  Does(leaving, RunDeclined{"not now"});
  ReleaseDone();
  EXPECT_THAT(Asked(), Contains(failing));
}

// Who is away is no quorum, and who comes back may be the one that it takes.
TEST_F(PlainBlameTest, NobodySitsOutForThoseWhoAreAway) {
  plan_.rounds.cohort_size = 0;
  StartWith({kCharite, kUke, kHelios, kStAnna});
  const std::vector<Institution> asked = Asked();
  for (const Institution& each : {kCharite, kUke, kHelios, kStAnna}) {
    if (each != asked.front() && each != asked.back()) Does(each, ClientDisconnected());
  }
  Contribute(asked.front());
  Does(asked.back(), ClientDisconnected());
  last_ = Advance(absl::Hours(1));
  EXPECT_THAT(last_, Not(Contains(StartsWith("sit out"))));
  EXPECT_EQ(run_->view().attempt, 2);
  EXPECT_THAT(Does(asked.back(), ClientConnected()),
              Contains(StartsWith("assign " + asked.back().value)));
}

TEST_F(PlainBlameTest, StaysSoInANewProcess) {
  StartWith({kCharite, kUke, kHelios, kStAnna});
  RunJournal journal;
  const Institution failing = Asked().front();
  const ClientFailed failure{0, 1, "out of memory"};
  journal.Follow(now_, run_->Receive(failing, failure, now_));
  const std::string reason = ViewOf(failing).reason;
  fedtune::Run::Options options = Options({kCharite, kUke, kHelios, kStAnna});
  options.resume = ResumePoint{
      .attempts_opened = 2, .clients = ClientsOf(run_->view()), .journal = journal.Restart(now_)};
  Start(std::move(options));
  EXPECT_THAT(Asked(), Not(Contains(failing)));
  EXPECT_EQ(ViewOf(failing).reason, reason);
}

// Five of seven are asked; four must do all that is asked of them.
class SecureBlameTest : public SecureRunTest {
 protected:
  void SetUp() override {
    SecureRunTest::SetUp();
    plan_.rounds.count = 3;
  }

  void StartWithSeven() {
    Enrol(6);
    Enrol(7);
    Start();
    EveryoneAccepts();
  }

  std::vector<uint32_t> Asked() const {
    std::vector<uint32_t> asked;
    for (const auto& [number, assignment] : assigned_) asked.push_back(number);
    return asked;
  }

  // Two of those who are asked say nothing from that question on.
  std::vector<uint32_t> TwoFallSilent(MessageKind question) {
    const std::vector<uint32_t> asked = Asked();
    silent_from_ = {{asked[0], question}, {asked[1], question}};
    for (const uint32_t number : asked) Trained(number);
    AnswerAll();
    assigned_.clear();
    TimeIsUp();
    return {asked[0], asked[1]};
  }

  void StartWithNine() {
    for (uint32_t number = 6; number <= 9; ++number) Enrol(number);
    StartWithSeven();
  }

  // Of a round in which all take part who are asked: who they were.
  std::vector<uint32_t> SumFails(const ReleaseFailed& failure) {
    const std::vector<uint32_t> asked = Asked();
    for (const uint32_t number : asked) Trained(number);
    AnswerAll();
    assigned_.clear();
    faults_.clear();
    journal_.Write(now_, RunEvent(failure));
    Carry(run_->Receive(failure, now_));
    return asked;
  }

  static std::string NamesOf(const std::vector<uint32_t>& numbers) {
    std::vector<std::string> names;
    for (const uint32_t number : numbers) names.push_back(Name(number).value);
    return fmt::format("{}", fmt::join(names, ", "));
  }

  // Nobody is connected to it yet.
  void AnotherProcessGoesOn() {
    const RunView before = run_->view();
    now_ += absl::Hours(1);
    questions_.clear();
    released_.clear();
    assigned_.clear();
    Begin(ResumePoint{.rounds_done = before.rounds_done,
                      .attempts_opened = before.attempt,
                      .clients = ClientsOf(before),
                      .last_round = before.last_round,
                      .journal = journal_.Restart(now_)},
          false);
  }

  // With what is stored of it, as the driver tells it.
  void Released(const Digest& adapter) {
    const Release& release = released_.back();
    Carry(run_->Receive(
        fedtune::Released{.round = release.round, .adapter = adapter, .counted = release.summary},
        now_));
  }

  void EveryoneComesBack() {
    for (const auto& [institution, number] : setting_.numbers) {
      Receive(institution, ClientConnected{});
    }
  }

  void ExpectNoneIsAsked(const std::vector<uint32_t>& suspects) const {
    EXPECT_EQ(assigned_.size(), setting_.numbers.size() - suspects.size());
    for (const uint32_t number : suspects) EXPECT_FALSE(assigned_.contains(number));
  }

  int64_t CountAwaited(const std::vector<uint32_t>& numbers) const {
    return std::ranges::count_if(numbers, [this](uint32_t each) { return ViewOf(each).awaited; });
  }

  void RoundIsSummed() {
    for (const uint32_t number : Asked()) Trained(number);
    AnswerAll();
  }

  const ReleaseFailed kImpossible{"no sum", true};

  ClientView ViewOf(uint32_t number) const { return *run_->ViewOf(Name(number)); }
};

TEST_F(SecureBlameTest, TheRoundAfterTheOneThatBurntGoesOnWithoutWhoBurntIt) {
  StartWithSeven();
  const std::vector<uint32_t> silent = TwoFallSilent(MessageKind::kSurvivors);
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
  Released(kAdapter);
  EXPECT_EQ(assigned_.size(), 5u);
  for (const uint32_t number : silent) {
    EXPECT_FALSE(assigned_.contains(number));
    EXPECT_THAT(ViewOf(number).reason,
                StartsWith("sits out until round 3: round 1 burnt: too few clients agreed on the "
                           "survivors: "));
  }
  silent_from_.clear();
  for (const uint32_t number : Asked()) Trained(number);
  AnswerAll();
  EXPECT_EQ(released_.back().summary.contributions, 5);
}

TEST_F(SecureBlameTest, SoDoesTheNextAttempt) {
  plan_.rounds.quorum = 4;
  plan_.secure.min_cohort = 4;
  StartWithSeven();
  const std::vector<uint32_t> silent = TwoFallSilent(MessageKind::kSharesForYou);
  EXPECT_EQ(run_->view().attempt, 2);
  EXPECT_EQ(assigned_.size(), 5u);
  for (const uint32_t number : silent) EXPECT_FALSE(assigned_.contains(number));
}

TEST_F(SecureBlameTest, NobodySitsOutWhereAllAreNeeded) {
  Start();
  EveryoneAccepts();
  TwoFallSilent(MessageKind::kSurvivors);
  Released(kAdapter);
  EXPECT_EQ(assigned_.size(), 5u);
}

TEST_F(SecureBlameTest, NobodyIsNamedForWhatTheCoordinatorHasLost) {
  StartWithNine();
  SumFails({"an input is damaged"});
  EXPECT_TRUE(released_.back().unchanged);
  EXPECT_TRUE(faults_.empty());
}

TEST_F(SecureBlameTest, AfterAnImpossibleSumOthersAreAsked) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  EXPECT_EQ(released_.back().summary.burnt, "no sum; it was one of " + NamesOf(suspects));
  Released(kAdapter);
  EXPECT_EQ(assigned_.size(), 4u);
  for (const uint32_t number : suspects) {
    EXPECT_FALSE(assigned_.contains(number));
    EXPECT_EQ(ViewOf(number).reason,
              "sits out until round 3: round 1 burnt: no sum; it was one of " + NamesOf(suspects));
  }
}

TEST_F(SecureBlameTest, AndStillWhenTheProcessHasEndedBeforeItWasStored) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  Crash();
  Released(kAdapter);
  for (const uint32_t number : suspects) EXPECT_FALSE(assigned_.contains(number));
}

TEST_F(SecureBlameTest, AndWhenItHasEndedWhileTheSumWasMade) {
  StartWithNine();
  const std::vector<uint32_t> suspects = Asked();
  RoundIsSummed();
  AnotherProcessGoesOn();
  Carry(run_->Receive(kImpossible, now_));
  Released(kAdapter);
  EveryoneComesBack();
  ExpectNoneIsAsked(suspects);
}

TEST_F(SecureBlameTest, AndWhenNobodyHasComeBackYetAsTheNextRoundIsOpened) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  AnotherProcessGoesOn();
  Released(kAdapter);
  EveryoneComesBack();
  ExpectNoneIsAsked(suspects);
}

TEST_F(SecureBlameTest, AndWhenTheRosterIsRenewedInTheNextRound) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  Released(kAdapter);
  setting_.roster = Sha256Of("the next roster");
  AnotherProcessGoesOn();
  EveryoneComesBack();
  EXPECT_EQ(run_->view().attempt, 2);
  ExpectNoneIsAsked(suspects);
}

TEST_F(SecureBlameTest, EveryoneIsAskedAgainOnceTheOthersHaveNotComeBack) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  AnotherProcessGoesOn();
  Released(kAdapter);
  for (const size_t one : {0, 1, 2}) Receive(Name(suspects[one]), ClientConnected{});
  EXPECT_EQ(CountAwaited(suspects), 0);
  TimeIsUp();
  EXPECT_EQ(run_->view().attempt, 2);
  EXPECT_GT(CountAwaited(suspects), 0);
}

TEST_F(SecureBlameTest, WhereOneOfTheOthersFailsThoseWhoSatOutAreAskedAgain) {
  StartWithNine();
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  Released(kAdapter);
  const Institution failing = Name(Asked().front());
  assigned_.clear();
  Receive(failing, ClientFailed{1, 1, "out of memory"});
  EXPECT_EQ(run_->view().attempt, 2);
  EXPECT_GT(CountAwaited(suspects), 0);
  Receive(failing, ClientFailed{1, 2, "out of memory"});
  assigned_.erase(setting_.numbers.at(failing));
  RoundIsSummed();
  EXPECT_GE(released_.back().summary.contributions, 4);
}

TEST_F(SecureBlameTest, ARunWithoutOthersEndsWithTheNamesOfBothSums) {
  StartWithSeven();
  const std::vector<uint32_t> first = SumFails(kImpossible);
  Released(kAdapter);
  const std::vector<uint32_t> second = SumFails(kImpossible);
  EXPECT_EQ(run_->view().state, RunState::kFailed);
  EXPECT_EQ(run_->view().reason,
            fmt::format("round 2 burnt, as the one before it: no sum; it was one of {}; the one "
                        "before it: no sum; it was one of {}",
                        NamesOf(second), NamesOf(first)));
}

TEST_F(SecureBlameTest, WhicheverProcessesThereWere) {
  StartWithSeven();
  const std::vector<uint32_t> first = SumFails(kImpossible);
  Released(kAdapter);
  const std::vector<uint32_t> second = Asked();
  RoundIsSummed();
  AnotherProcessGoesOn();
  Carry(run_->Receive(kImpossible, now_));
  EXPECT_EQ(run_->view().reason,
            fmt::format("round 2 burnt, as the one before it: no sum; it was one of {}; the one "
                        "before it: no sum; it was one of {}",
                        NamesOf(second), NamesOf(first)));
}

TEST_F(SecureBlameTest, EveryoneInAnImpossibleSumIsReportedHoweverManyTheyAre) {
  plan_.secure.max_cohort = 25;
  for (uint32_t number = 10; number <= 25; ++number) Enrol(number);
  StartWithNine();
  SumFails(kImpossible);
  ASSERT_EQ(suspects_.size(), 25u);
  for (uint32_t number = 1; number <= 25; ++number) {
    EXPECT_THAT(suspects_, Contains(::testing::Field(&ReportSuspect::institution, Name(number))));
  }
  EXPECT_EQ(suspects_[0].round, 0);
  EXPECT_EQ(suspects_[0].why, "no sum");
}

// Those who were in its last sum are not blamed: there were no others to ask.
TEST_F(SecureBlameTest, ARunThatIsTriedAgainAsksOthersOnceTheyAreThere) {
  plan_.rounds.count = 4;
  for (uint32_t number = 6; number <= 9; ++number) Enrol(number);
  ResumePoint point{.rounds_done = 1, .attempts_opened = 1, .rounds_burnt = 1, .retried = true};
  GoOnWithAll(std::move(point));
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_.back().summary.burnt, "what it had come to is lost");
  Released(kAdapter);
  const std::vector<uint32_t> suspects = SumFails(kImpossible);
  EXPECT_EQ(run_->view().state, RunState::kRunning);
  Released(kAdapter);
  ExpectNoneIsAsked(suspects);
}

}  // namespace
}  // namespace fedtune::testing
