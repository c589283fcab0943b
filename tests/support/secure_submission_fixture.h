// SPDX-License-Identifier: Apache-2.0

// For stories of secure rounds: institutions that have trained, each with a disk of its
// own, and the coordinator's side of the protocol.

#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "aggregation/masked_vector.h"
#include "client/round/secure_submission.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plan/secure_session.h"
#include "plan/secure_vector.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/secure_aggregation/coordinator_session.h"
#include "tests/support/elements_in_memory.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::testing {

// Keeps what was said last.
class FakeLink final : public CoordinatorLink {
 public:
  void Send(const Reply& reply) override { said = std::get<SecureMessage>(reply).message; }
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter, std::stop_token,
                                                  const TransferObserver&) override {
    return absl::NotFoundError("none");
  }
  absl::Status Submit(std::shared_ptr<const Contribution>, std::stop_token) override {
    return absl::InternalError("a delta in the clear");
  }
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                            std::stop_token) override {
    ++uploads;
    if (verdict.ok()) input = *contribution;
    return verdict;
  }
  absl::StatusOr<LogProof> ProveLog(const LogQuestion&, std::stop_token) override {
    return absl::UnimplementedError("it keeps no log");
  }

  Bytes said;
  MaskedContribution input;
  int uploads = 0;
  absl::Status verdict;
};

// One institution: its disk, and its process.
struct Party {
  void Start(int64_t attempt = 1) {
    submission.reset();
    journal.reset();
    journal.emplace(
        *SessionJournal::Open(folder.path() / "sessions.db", *material->membership->key));
    SecureRoundWork now = work;
    now.assignment.id.attempt = attempt;
    absl::StatusOr<SecureSubmission> begun = SecureSubmission::Begin(now, *journal);
    begin_status = begun.status();
    if (!begun.ok()) return;
    submission.emplace(*std::move(begun));
    submission->Offer(contribution);
  }
  absl::Status Continue() { return submission->Continue(link, {}); }
  absl::Status Receive(const Bytes& message) { return submission->Receive(message, link, {}); }

  TemporaryDirectory folder;
  std::shared_ptr<RunMaterial> material = std::make_shared<RunMaterial>();
  SecureRoundWork work;
  std::shared_ptr<Contribution> contribution = std::make_shared<Contribution>();
  FakeLink link;
  absl::Status begin_status;
  std::optional<SessionJournal> journal;
  std::optional<SecureSubmission> submission;
};

// Five institutions that have trained, each with ten records more than the last.
class SecureSubmissionTest : public ::testing::Test {
 protected:
  static constexpr int kClients = 5;

  SecureSubmissionTest() { Prepare(/*scale=*/1, /*evaluate_only=*/false); }

  void Prepare(int64_t scale, bool evaluate_only, CipherSuite suite = CipherSuite::kCurve25519) {
    parties_.clear();
    std::map<uint32_t, std::shared_ptr<const SigningKey>> keys;
    std::map<uint32_t, Bytes> public_keys;
    for (uint32_t number = 1; number <= kClients; ++number) {
      keys[number] = std::make_shared<const SigningKey>(SigningKey::Generate(suite));
      public_keys[number] = keys[number]->public_key();
    }
    for (uint32_t number = 1; number <= kClients; ++number) {
      Party& party = parties_[number];
      std::string plan = kPlan;
      if (suite == CipherSuite::kNistP256) plan += "suite = 'p256'\n";
      *party.material = {.plan = *ParsePlan(plan, "plan.toml"),
                         .layout = LayoutOf(scale),
                         .layout_digest = Sha256Of("layout"),
                         .routing = kRouting,
                         .base_model = {},
                         .base_model_files = {},
                         .plan_toml = plan,
                         .base_digest = "sha256:77",
                         .membership = SecureMembership{.federation = "north",
                                                        .roster = Sha256Of("roster"),
                                                        .number = number,
                                                        .key = keys[number],
                                                        .signing_keys = public_keys},
                         .floor = {.min_cohort = 4},
                         .training = std::vector<TokenizedRecord>(10 * number),
                         .validation = {},
                         .choices = {},
                         .batch = {}};
      party.work = {.assignment = {.id = {.run = "run-1", .round = evaluate_only ? 8 : 7},
                                   .adapter = Sha256Of("adapter"),
                                   .evaluate = evaluate_only,
                                   .evaluate_only = evaluate_only},
                    .material = party.material};
      FillContribution(number);
    }
  }

  void FillContribution(uint32_t number) {
    Party& party = parties_.at(number);
    Contribution& contribution = *party.contribution;
    contribution = {.id = party.work.assignment.id,
                    .adapter = Sha256Of("adapter"),
                    .layout = Sha256Of("layout"),
                    .evaluate_only = party.work.assignment.evaluate_only};
    contribution.metrics = {.training_loss = 1.5, .steps = 1, .token_count = 10};
    contribution.metrics.before = EvaluationResult{.loss = 2, .accuracy = 0.5, .example_count = 4};
    if (contribution.evaluate_only) return;
    contribution.delta.resize(static_cast<size_t>(party.material->layout.parameter_count()));
    std::mt19937 random(number);
    std::normal_distribution<float> value(0, 0.01f);
    for (float& delta : contribution.delta) delta = value(random);
    for (int64_t i = 0; i < kRouting.counter_count(); ++i) {
      contribution.metrics.routed_tokens.push_back(static_cast<int64_t>(random() % 11));
    }
  }

  void OpenCoordinator() {
    const Party& first = parties_.at(1);
    CoordinatorSession::Options options{.parameters = *ParametersOf(first.work),
                                        .signing_keys = first.material->membership->signing_keys,
                                        .cohort = {1, 2, 3, 4, 5},
                                        .model = TrainedFrom("sha256:77", Sha256Of("adapter"))};
    sum_.assign(static_cast<size_t>(options.parameters.element_count), 0);
    coordinator_.emplace(*CoordinatorSession::Create(std::move(options)));
  }

  void Advertise() {
    OpenCoordinator();
    for (auto& [number, party] : parties_) {
      party.Start();
      ASSERT_THAT(party.begin_status, IsOk());
      ASSERT_THAT(party.Continue(), IsOk());
      ASSERT_THAT(coordinator_->Receive(number, party.link.said), IsOk());
    }
    ASSERT_TRUE(coordinator_->Advance(false));
  }

  // Takes what `number` has answered to the phase's message.
  void PassOn(uint32_t number) {
    const FakeLink& link = parties_.at(number).link;
    if (coordinator_->phase() != CoordinatorSession::Phase::kCollecting) {
      ASSERT_THAT(coordinator_->Receive(number, link.said), IsOk());
      return;
    }
    const auto root = coordinator_->CheckInput(number, link.input.manifest);
    ASSERT_THAT(root, IsOk());
    ASSERT_EQ(*root, RootOf(link.input.elements));
    ASSERT_THAT(coordinator_->Receive(number, link.input.manifest), IsOk());
    AddPacked(RingBits::k24, link.input.elements, sum_);
  }

  static Digest RootOf(const Bytes& elements) {
    std::vector<Digest> leaves;
    const size_t chunk = kChunkElements * BytesPerElement(RingBits::k24);
    for (size_t first = 0; first < elements.size(); first += chunk) {
      leaves.push_back(
          MerkleLeaf(ByteSpan(elements).subspan(first, std::min(chunk, elements.size() - first))));
    }
    return MerkleRoot(leaves);
  }

  void PlayPhase() {
    for (const uint32_t number : coordinator_->Awaited()) {
      ASSERT_THAT(parties_.at(number).Receive(coordinator_->MessageFor(number)), IsOk());
      PassOn(number);
    }
    ASSERT_TRUE(coordinator_->Advance(false)) << coordinator_->failure();
  }
  void PlayUntil(CoordinatorSession::Phase phase) {
    Advertise();
    while (!HasFatalFailure() && coordinator_->phase() < phase) PlayPhase();
  }

  // UKE's process ends after each message, and the next one hears it again.
  void RestartAllTheTime() {
    Advertise();
    Party& uke = parties_.at(2);
    const Bytes advertised = uke.link.said;
    uke.Start();
    ASSERT_THAT(uke.Continue(), IsOk());
    EXPECT_EQ(uke.link.said, advertised);
    while (!HasFatalFailure() && coordinator_->phase() < CoordinatorSession::Phase::kDone) {
      const Bytes message = coordinator_->MessageFor(2);
      ASSERT_THAT(uke.Receive(message), IsOk());
      const FakeLink before = uke.link;
      uke.link = {};
      uke.Start();
      ASSERT_THAT(uke.begin_status, IsOk());
      ASSERT_THAT(uke.Receive(message), IsOk());
      EXPECT_EQ(uke.link.input.elements, before.input.elements);
      EXPECT_EQ(uke.link.input.manifest, before.input.manifest);
      if (before.input.elements.empty()) {
        EXPECT_EQ(uke.link.said, before.said);
      }
      PlayPhase();
      uke.link.input = {};
    }
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_EQ(Unmask().counted().total_weight, 150);
  }

  UnmaskedSum Unmask() {
    coordinator_->Masks().Apply(0, sum_);
    const RunMaterial& material = *parties_.at(1).material;
    const auto layout = MaskedLayoutOf(
        material.plan, material.layout,
        {.evaluate_only = parties_.at(1).work.assignment.evaluate_only, .routing = kRouting});
    auto sum = UnmaskedSum::Create(*layout, FactorSet::kBoth, InMemory(std::move(sum_)), kClients);
    EXPECT_THAT(sum, IsOk()) << sum.status();
    return *std::move(sum);
  }

  // The weighted mean of the deltas, as a plain round has it.
  double PlainMean(size_t index) const {
    double mean = 0;
    for (const auto& [number, party] : parties_) {
      mean += party.contribution->delta[index] * (10.0 * number) / 150.0;
    }
    return mean;
  }

  // Tokens of each routed expert, added up in the clear.
  std::vector<int64_t> PlainRoutedTokens() const {
    std::vector<int64_t> sum(static_cast<size_t>(kRouting.counter_count()));
    for (const auto& [number, party] : parties_) {
      const std::vector<int64_t>& tokens = party.contribution->metrics.routed_tokens;
      std::transform(sum.begin(), sum.end(), tokens.begin(), sum.begin(), std::plus<>());
    }
    return sum;
  }

  std::map<uint32_t, Party> parties_;
  std::optional<CoordinatorSession> coordinator_;
  std::vector<uint32_t> sum_;

 private:
  static constexpr char kPlan[] = R"(name = "icd"
base_model = "m"
[training]
steps = 1
[rounds]
count = 8
[aggregation]
mode = "secure"
method = "fedit"
[secure]
ring_bits = 24
clip = 0.05
max_weight = 100
min_cohort = 4
max_cohort = 5
)";
  static constexpr RoutingShape kRouting = {
      .layers = 2, .experts = 3, .choices = 2, .most_tokens = 64};

  // 2,048 values for each unit of `scale`.
  static AdapterLayout LayoutOf(int64_t scale) {
    return *AdapterLayout::Create({{.name = "q",
                                    .in_features = 300 * scale,
                                    .out_features = 212 * scale,
                                    .lora_rank = 4,
                                    .alpha = 8}});
  }
};

}  // namespace fedtune::testing
