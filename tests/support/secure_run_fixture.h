// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/rounds/run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plan/secure_session.h"
#include "tests/support/run_journal.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune::testing {

inline constexpr char kSecurePlanToml[] = R"(
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

inline const Digest kAdapter = Sha256Of("adapter 0");
inline constexpr RoutingShape kRouting = {
    .layers = 2, .experts = 3, .choices = 1, .most_tokens = 9};

// A secure run with real sessions of its clients: what the run asks, they answer. Five
// institutions, each with its own session of the round that is open.
class SecureRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<Plan> plan = ParsePlan(kSecurePlanToml, "plan.toml");
    ASSERT_THAT(plan, IsOk()) << plan.status();
    setting_ = {.federation = "north",
                .plan_toml = kSecurePlanToml,
                .base_digest = plan->base_digest,
                .roster = Sha256Of("roster")};
    for (uint32_t number = 1; number <= 5; ++number) Enrol(number);
    plan_ = *plan;
  }

  void Enrol(uint32_t number) {
    setting_.numbers[Name(number)] = number;
    setting_.signing_keys[number] = SigningKeyOf(CipherSuite::kCurve25519, number)->public_key();
  }

  static AdapterLayout Layout() {
    return *AdapterLayout::Create(
        {{.name = "q", .in_features = 6, .out_features = 4, .lora_rank = 2, .alpha = 4}});
  }

  static Institution Name(uint32_t number) { return {"site-" + std::to_string(number)}; }

  void Start(std::optional<ResumePoint> resume = std::nullopt) { Begin(std::move(resume), true); }

  fedtune::Run::Options Options(std::optional<ResumePoint> resume) const {
    return {.id = {"run-1"},
            .plan = plan_,
            .layout = Layout(),
            .adapter = kAdapter,
            .connected = {},
            .final_evaluation = final_evaluation_,
            .resume = std::move(resume),
            .secure = setting_,
            .routing = kRouting};
  }

  void Begin(std::optional<ResumePoint> resume, bool connected) {
    fedtune::Run::Options options = Options(std::move(resume));
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
    return *SecureSessionParameters(plan_, kSecurePlanToml, Layout(), setting_.roster,
                                    {.federation = "north",
                                     .run = "run-1",
                                     .round = round,
                                     .attempt = attempt,
                                     .factors = FactorSet::kBoth,
                                     .evaluate_only = round == plan_.rounds.count,
                                     .routing = kRouting});
  }

  void EveryoneTrains() {
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
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
                      .clients = answers_are_stored_ ? ClientsOf(run_->view())
                                                     : std::vector<ResumePoint::Client>(),
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
            .size_bytes = 4 * static_cast<uint64_t>(
                                  Parameters(assignment.round, assignment.attempt).element_count),
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
      if (!step->message.empty()) {
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
      } else if (auto* suspect = std::get_if<ReportSuspect>(&effect)) {
        suspects_.push_back(*suspect);
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
  bool final_evaluation_ = false;
  bool answers_are_stored_ = true;
  absl::Duration now_;
  std::optional<fedtune::Run> run_;
  std::map<uint32_t, RoundAssignment> assigned_;
  std::map<uint32_t, ClientSession> sessions_;
  std::map<uint32_t, MessageKind> silent_from_;
  std::vector<SendSecureMessage> questions_;
  std::vector<Release> released_;
  std::vector<ReportFault> faults_;
  std::vector<ReportSuspect> suspects_;
  RunJournal journal_;
  int entries_to_crash_ = 0;
  std::string lost_;
};

}  // namespace fedtune::testing
