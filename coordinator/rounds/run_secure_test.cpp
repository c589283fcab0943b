// SPDX-License-Identifier: Apache-2.0

// A secure run with real sessions of its clients: what the run asks, they answer.

#include <map>

#include "coordinator/rounds/run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plan/secure_session.h"
#include "tests/support/run_journal.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::SecretOf;
using testing::SigningKeyOf;

constexpr char kPlanToml[] = R"(
name = "secure"
base_model = "tiny"
base_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
[adapter]
rank = 2
targets = ["q_proj"]
[training]
steps = 1
[rounds]
count = 2
quorum = 4
[aggregation]
method = "fedit"
mode = "secure"
[secure]
min_cohort = 3
max_cohort = 5
)";

const Digest kAdapter = Sha256Of("adapter 0");
constexpr RoutingShape kRouting = {.layers = 2, .experts = 3, .choices = 1, .most_tokens = 9};

AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 6, .out_features = 4, .lora_rank = 2, .alpha = 4}});
}

// Five institutions, each with its own session of the round that is open.
class SecureRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<Plan> plan = ParsePlan(kPlanToml, "plan.toml");
    ASSERT_THAT(plan, IsOk()) << plan.status();
    setting_ = {.federation = "north",
                .plan_toml = kPlanToml,
                .base_digest = plan->base_digest,
                .roster = Sha256Of("roster")};
    for (uint32_t number = 1; number <= 5; ++number) {
      setting_.numbers[Name(number)] = number;
      setting_.signing_keys[number] = SigningKeyOf(CipherSuite::kCurve25519, number)->public_key();
    }
    plan_ = *plan;
  }

  static Institution Name(uint32_t number) { return {"site-" + std::to_string(number)}; }

  void Start(std::optional<ResumePoint> resume = std::nullopt) { Begin(std::move(resume), true); }

  void Begin(std::optional<ResumePoint> resume, bool connected) {
    fedtune::Run::Options options{.id = {"run-1"},
                                  .plan = plan_,
                                  .layout = Layout(),
                                  .adapter = kAdapter,
                                  .connected = {},
                                  .final_evaluation = false,
                                  .resume = std::move(resume),
                                  .secure = setting_,
                                  .routing = kRouting};
    for (const auto& [institution, number] : setting_.numbers) {
      if (connected) options.connected.push_back(institution);
    }
    Effects effects;
    absl::StatusOr<fedtune::Run> run = fedtune::Run::Start(std::move(options), now_, effects);
    ASSERT_THAT(run, IsOk()) << run.status();
    run_.emplace(*std::move(run));
    Carry(std::move(effects));
  }

  void EveryoneAccepts() {
    for (const auto& [institution, number] : setting_.numbers) {
      Receive(institution, RunAccepted{.example_count = 0});
    }
  }

  SessionParameters Parameters(int64_t round, int64_t attempt) const {
    return *SecureSessionParameters(plan_, kPlanToml, Layout(), setting_.roster,
                                    {.federation = "north",
                                     .run = "run-1",
                                     .round = round,
                                     .attempt = attempt,
                                     .factors = FactorSet::kBoth,
                                     .routing = kRouting});
  }

  // The client has trained: it opens its session and sends its keys.
  void Trained(uint32_t number) {
    const RoundAssignment& assignment = assigned_.at(number);
    absl::StatusOr<ClientSession> session =
        ClientSession::Create({.parameters = Parameters(assignment.round, assignment.attempt),
                               .floor = {.min_cohort = 3, .assumed_corrupt = 0},
                               .number = number,
                               .key = SigningKeyOf(CipherSuite::kCurve25519, number),
                               .signing_keys = setting_.signing_keys,
                               .model = TrainedFrom(setting_.base_digest, assignment.adapter),
                               .round_secret = SecretOf(static_cast<uint8_t>(number))});
    ASSERT_THAT(session, IsOk());
    sessions_.erase(number);
    sessions_.emplace(number, *std::move(session));
    Say(number, sessions_.at(number).Advertise()->message);
  }

  void Say(uint32_t number, Bytes message) {
    const RoundAssignment& assignment = assigned_.at(number);
    Receive(Name(number),
            SecureMessageReceived{assignment.round, assignment.attempt, std::move(message)});
  }

  void Receive(const Institution& from, const ClientEvent& event) {
    if (run_->Heeds(from, event)) journal_.Write(now_, ReceivedFromClient{from, event});
    Carry(run_->Receive(from, event, now_));
    if (--entries_to_crash_ == 0) Crash();
  }

  // From there, without a journal; all clients had accepted the run.
  void GoOnWithAll(ResumePoint point) {
    for (const auto& [institution, number] : setting_.numbers) {
      point.clients.push_back({.institution = institution, .accepted = true});
    }
    Start(std::move(point));
  }

  // The coordinator's process ends; another one goes on, and everyone comes back.
  void Crash() {
    questions_.clear();
    released_.clear();
    const bool training = run_->view().phase == RunPhase::kTraining;
    now_ += absl::Hours(1);
    Begin(ResumePoint{.attempts_opened = 1,
                      .clients = testing::ClientsOf(run_->view()),
                      .journal = journal_.Restart(now_),
                      .lost = lost_},
          false);
    for (const auto& [institution, number] : setting_.numbers) {
      Receive(institution, ClientConnected{});
      if (training && sessions_.contains(number)) {
        Say(number, sessions_.at(number).Advertise()->message);
      }
    }
  }

  ContributionHeader HeaderOf(uint32_t number, const Bytes& manifest) const {
    const RoundAssignment& assignment = assigned_.at(number);
    return {.round = assignment.round,
            .attempt = assignment.attempt,
            .adapter = assignment.adapter,
            .layout = Sha256Of(Layout().ToJson()),
            .factors = 3,
            .size_bytes = 4 * static_cast<uint64_t>(Parameters(0, 1).element_count),
            .sha256 = Sha256Of(ByteSpan(manifest)),
            .input_manifest = manifest};
  }

  // Answers the oldest questions until nobody is asked anything, but for those
  // that are silent.
  void AnswerAll() {
    while (!questions_.empty()) {
      const SendSecureMessage question = questions_.front();
      questions_.erase(questions_.begin());
      const uint32_t number = setting_.numbers.at(question.institution);
      if (silent_from_.contains(number) &&
          question.message[0] >= static_cast<uint8_t>(silent_from_[number])) {
        continue;
      }
      ClientSession& session = sessions_.at(number);
      absl::StatusOr<ClientSession::Step> step = session.Receive(question.message);
      ASSERT_THAT(step, IsOk()) << step.status();
      if (!session.wants_input()) {
        Say(number, step->message);
        continue;
      }
      ASSERT_THAT(session.FixInput(Sha256Of("input")), IsOk());
      HandIn(number, session.SignInput(Sha256Of("root"))->message);
    }
  }

  void HandIn(uint32_t number, const Bytes& manifest) {
    const ContributionHeader header = HeaderOf(number, manifest);
    const absl::StatusOr<Admission> admission = run_->CheckContribution(Name(number), header);
    ASSERT_THAT(admission, IsOk()) << admission.status();
    EXPECT_EQ(admission->chunk_root, Sha256Of("root"));
    Receive(Name(number), ContributionTaken{header});
  }

  // All masks of the released sum, one after the other.
  std::vector<uint32_t> ReleasedMasks() const {
    std::vector<uint32_t> values(static_cast<size_t>(Parameters(0, 1).element_count));
    released_[0].masks->Apply(0, values);
    return values;
  }

  void Carry(Effects effects) {
    journal_.Follow(now_, effects);
    for (Effect& effect : effects) {
      if (const auto* assign = std::get_if<Assign>(&effect)) {
        assigned_[setting_.numbers.at(assign->institution)] = assign->assignment;
      } else if (auto* question = std::get_if<SendSecureMessage>(&effect)) {
        questions_.push_back(*question);
      } else if (auto* release = std::get_if<Release>(&effect)) {
        released_.push_back(*release);
      } else if (auto* fault = std::get_if<ReportFault>(&effect)) {
        faults_.push_back(*fault);
      }
    }
  }

  void Released(const Digest& adapter) {
    const Release& release = released_.back();
    Carry(run_->Receive(fedtune::Released{.round = release.round, .adapter = adapter}, now_));
  }

  void TimeIsUp() {
    now_ = *run_->deadline();
    journal_.Write(now_, fedtune::TimeIsUp{});
    Carry(run_->Tick(now_));
  }

  Plan plan_;
  SecureSetting setting_;
  absl::Duration now_;
  std::optional<fedtune::Run> run_;
  std::map<uint32_t, RoundAssignment> assigned_;
  std::map<uint32_t, ClientSession> sessions_;
  std::map<uint32_t, MessageKind> silent_from_;
  std::vector<SendSecureMessage> questions_;
  std::vector<Release> released_;
  std::vector<ReportFault> faults_;
  testing::RunJournal journal_;
  int entries_to_crash_ = 0;
  std::string lost_;
};

TEST_F(SecureRunTest, ReleasesTheSumOfAll) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) {
    EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
    Trained(number);
  }
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 5);
  ASSERT_NE(released_[0].masks, nullptr);
  EXPECT_EQ(released_[0].masks->count(), 5);
  Released(Sha256Of("adapter 1"));
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_EQ(assigned_.at(1).round, 1);
}

TEST_F(SecureRunTest, GoesOnWithoutOneThatFallsSilent) {
  for (const auto kind : {MessageKind::kKeyDirectory, MessageKind::kSharesForYou,
                          MessageKind::kSurvivors, MessageKind::kAgreementProof}) {
    SCOPED_TRACE(static_cast<int>(kind));
    now_ = absl::ZeroDuration();
    released_.clear();
    silent_from_ = {{2, kind}};
    Start();
    EveryoneAccepts();
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    if (released_.empty()) TimeIsUp();
    AnswerAll();
    if (released_.empty()) TimeIsUp();
    AnswerAll();
    ASSERT_EQ(released_.size(), 1u);
    EXPECT_EQ(released_[0].summary.contributions, kind <= MessageKind::kSharesForYou ? 4 : 5);
  }
}

TEST_F(SecureRunTest, TriesAgainWhenTooFewInputsCome) {
  silent_from_ = {{1, MessageKind::kSharesForYou}, {2, MessageKind::kSharesForYou}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  TimeIsUp();
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  EXPECT_EQ(run_->view().attempt, 2);
}

// Two sums over other survivors would be one client's contribution.
TEST_F(SecureRunTest, BurnsTheRoundWhenItFailsAfterTheSurvivorsAreKnown) {
  silent_from_ = {{1, MessageKind::kSurvivors}, {2, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  TimeIsUp();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
  Released(kAdapter);
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_EQ(assigned_.at(1).round, 1);
  EXPECT_EQ(assigned_.at(1).adapter, kAdapter);
}

TEST_F(SecureRunTest, EndsWhenTwoRoundsBurnInARow) {
  silent_from_ = {{1, MessageKind::kSurvivors}, {2, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (int round = 0; round < 2; ++round) {
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    TimeIsUp();
    if (round == 0) Released(kAdapter);
  }
  EXPECT_EQ(run_->view().state, RunState::kFailed);
  EXPECT_THAT(run_->view().reason, HasSubstr("burnt"));
}

TEST_F(SecureRunTest, ACoordinatorThatEndsAtAnyMomentGoesOnToTheSameSum) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  const std::vector<uint32_t> masks = ReleasedMasks();
  // Five clients say five things each after the round's opening.
  for (int entry = 1; entry <= 25; ++entry) {
    SCOPED_TRACE(entry);
    sessions_.clear();
    released_.clear();
    Start();
    EveryoneAccepts();
    entries_to_crash_ = entry;
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    EXPECT_LE(entries_to_crash_, 0);
    ASSERT_EQ(released_.size(), 1u);
    EXPECT_EQ(released_[0].summary.contributions, 5);
    EXPECT_EQ(ReleasedMasks(), masks);
  }
}

TEST_F(SecureRunTest, TriesAgainWhenAnInputIsLostBeforeTheSurvivorsAreKnown) {
  silent_from_ = {{5, MessageKind::kSharesForYou}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  lost_ = "a bit of an input has changed on the disk";
  Crash();
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().attempt, 2);
}

TEST_F(SecureRunTest, BurnsTheRoundWhenAnInputIsLostAfterwards) {
  silent_from_ = {{5, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  lost_ = "a bit of an input has changed on the disk";
  Crash();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

// Who is not needed drops before anybody has agreed on anything.
TEST_F(SecureRunTest, GoesOnWithEnoughKeysAndTellsTheOthersThatItHasClosed) {
  plan_.rounds.close_at = 4;
  Start();
  EveryoneAccepts();
  for (const uint32_t number : {5, 1, 3}) Trained(number);
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  Trained(4);
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  Carry(run_->Receive(Name(2), ClientDisconnected{}, now_));
  assigned_.erase(2);
  Receive(Name(2), ClientConnected{});
  EXPECT_FALSE(assigned_.contains(2)) << "there is nothing for it to do";
  EXPECT_TRUE(faults_.empty());
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_FALSE(released_[0].unchanged);
  EXPECT_EQ(released_[0].summary.contributions, 4);
  Released(kAdapter);
  EXPECT_EQ(assigned_.at(2).round, 1);
}

TEST_F(SecureRunTest, EnoughKeysAreStillEnoughInANewProcess) {
  plan_.rounds.close_at = 4;
  Start();
  EveryoneAccepts();
  for (const uint32_t number : {5, 1, 3, 4}) Trained(number);
  questions_.clear();
  Crash();
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, BurnsTheRoundThatWasOpenWhenARunIsTriedAgain) {
  GoOnWithAll({.rounds_done = 0, .attempts_opened = 2, .retried = true});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

TEST_F(SecureRunTest, BurnsARoundWhoseJournalIsLost) {
  GoOnWithAll({.rounds_done = 0, .attempts_opened = 1});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

// Its survivors may have been named, as those of any round.
TEST_F(SecureRunTest, AFinalEvaluationThatWasOpenIsNotBegunASecondTime) {
  GoOnWithAll({.rounds_done = plan_.rounds.count, .attempts_opened = 1, .retried = true});
  EXPECT_EQ(run_->view().state, RunState::kFinished);
}

TEST_F(SecureRunTest, AsksAgainAfterAReconnect) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  Carry(run_->Receive(Name(3), ClientDisconnected{}, now_));
  const size_t before = questions_.size();
  Carry(run_->Receive(Name(3), ClientConnected{}, now_));
  ASSERT_EQ(questions_.size(), before + 1);
  EXPECT_EQ(questions_.back().institution, Name(3));
  AnswerAll();
  EXPECT_EQ(released_.size(), 1u);
}

TEST_F(SecureRunTest, AManifestWithoutItsInputCountsForNothing) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  silent_from_ = {{1, MessageKind::kSharesForYou}};
  SendSecureMessage for_one;
  AnswerAll();
  // Client 1 knows what it should hand in, and sends only its signature on it.
  Carry(run_->Receive(Name(1), ClientConnected{}, now_));
  ASSERT_FALSE(questions_.empty());
  ClientSession& session = sessions_.at(1);
  ASSERT_THAT(session.Receive(questions_.back().message), IsOk());
  questions_.clear();
  ASSERT_THAT(session.FixInput(Sha256Of("input")), IsOk());
  Say(1, session.SignInput(Sha256Of("root"))->message);
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  TimeIsUp();
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, RefusesInputsThatAreNotAwaitedOrNotAsExpected) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  EXPECT_THAT(run_->CheckContribution(Name(1), HeaderOf(1, {5})),
              HasCode(absl::StatusCode::kInvalidArgument));
  ContributionHeader header = HeaderOf(1, {5});
  header.size_bytes -= 4;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kInvalidArgument));
  header = HeaderOf(1, {5});
  header.metrics.steps = 3;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kInvalidArgument));
  header = HeaderOf(1, {5});
  header.attempt = 9;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

// It is not waited for any more: the round goes on when the others are there.
TEST_F(SecureRunTest, AClientWhoseKeysAreNotSignedByItHasFailedTheRound) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 4; ++number) Trained(number);
  Advertisement forged;
  forged.number = 5;
  forged.share_key = Bytes(32, 1);
  forged.mask_key = Bytes(32, 2);
  forged.signature = Bytes(kSignatureSize);
  Say(5, Encode(forged));
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, NamesAClientThatSendsGarbage) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  Say(4, {3, 1, 2, 3});
  ASSERT_EQ(faults_.size(), 1u);
  EXPECT_EQ(faults_[0].institution, Name(4));
  silent_from_ = {{4, MessageKind::kKeyDirectory}};
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

}  // namespace
}  // namespace fedtune
