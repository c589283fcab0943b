// SPDX-License-Identifier: Apache-2.0

// A secure run over real TLS: what comes out is, to the byte, what adding up the
// same quantised contributions in the clear gives.

#include <map>
#include <thread>
#include <utility>

#include "aggregation/adapter_init.h"
#include "aggregation/masked_vector.h"
#include "plan/adapter_targets.h"
#include "plan/routing_shape.h"
#include "plan/secure_session.h"
#include "plan/server_step.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/elements_in_memory.h"
#include "tests/support/optimized_adapter.h"
#include "tests/support/quantizer_steps.h"
#include "tests/support/secure_round.h"
#include "tests/support/server_fixture.h"
#include "tests/support/tiny_plan.h"
#include "tests/support/values_in_memory.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;

constexpr int kClients = 5;

// One hospital with its session; it answers whatever it is asked.
class SecureHospital {
 public:
  SecureHospital(std::unique_ptr<FakeClient> client, uint32_t number)
      : client_(std::move(client)), number_(number) {}

  uint32_t number() const { return number_; }
  FakeClient& client() { return *client_; }
  const v1::RoundAssignment& work() const { return work_; }
  const std::vector<uint32_t>& elements() const { return elements_; }
  grpc::Status submitted() const { return submitted_; }

  void Train(const Plan& plan, const std::string& plan_toml, const AdapterLayout& layout,
             const RoutingShape& routing, const SigningRoster& roster) {
    if (!next_.has_round_assignment()) next_ = client_->Receive();
    work_ = std::exchange(next_, {}).round_assignment();
    const SecureAttempt attempt{.federation = "north",
                                .run = work_.run_id(),
                                .round = work_.round(),
                                .attempt = work_.attempt(),
                                .factors = static_cast<FactorSet>(work_.factors()),
                                .routing = routing};
    const Digest adapter = *Digest::FromBinary(work_.adapter_sha256(), "adapter");
    layout_.emplace(*MaskedLayoutOf(plan, layout, attempt));
    session_ = std::make_unique<ClientSession>(*ClientSession::Create(
        {.parameters = *SecureSessionParameters(plan, plan_toml, layout, roster.digest(), attempt),
         .floor = {.min_cohort = 3, .assumed_corrupt = 0},
         .number = number_,
         .key = SigningKeyOf(CipherSuite::kCurve25519, number_),
         .signing_keys = KeysOf(roster),
         .model = TrainedFrom(client_->invitation().base_digest(), adapter),
         .round_secret = SecretOf(static_cast<uint8_t>(number_))}));
    MakeVector(layout);
    Say(session_->Advertise()->message);
  }

  // From now on it counts itself twice.
  void Lie() { lies_ = true; }

  // Reads one message and answers it; false: it is none of the session.
  bool Answer() {
    const v1::CoordinatorMessage message = client_->Receive();
    if (!message.has_secure_aggregation()) {
      next_ = message;
      return false;
    }
    const std::string& bytes = message.secure_aggregation().message();
    const auto step = session_->Receive(SpanOf(bytes));
    EXPECT_THAT(step, IsOk()) << step.status();
    if (step->message.empty()) {
      HandIn();
    } else {
      Say(step->message);
    }
    return true;
  }

  // In the clear, as the client knows it.
  std::vector<float> Delta(int64_t count) const {
    std::vector<float> delta(static_cast<size_t>(count));
    for (size_t i = 0; i < delta.size(); ++i) delta[i] = DeltaAt(i);
    return delta;
  }
  float DeltaAt(size_t i) const {
    return 1e-3F * static_cast<float>(number_) * (static_cast<float>(i % 17) - 8);
  }

 private:
  static std::map<uint32_t, Bytes> KeysOf(const SigningRoster& roster) {
    std::map<uint32_t, Bytes> keys;
    for (const SigningRosterEntry& entry : roster.entries()) keys[entry.number] = entry.public_key;
    return keys;
  }

  void MakeVector(const AdapterLayout& layout) {
    const std::vector<float> delta = Delta(layout_->value_count());
    ValueRange range;
    range.Add(delta);
    const auto vector =
        MaskedVector::Create(*layout_,
                             {.values = std::make_shared<ValuesInMemory>(delta),
                              .range = range,
                              .adapter = layout,
                              .factors = static_cast<FactorSet>(work_.factors())},
                             {.weight = 10 * number_,
                              .example_count = 10 * number_,
                              .training_loss = 1.5,
                              .steps = 1,
                              .token_count = 7 * number_,
                              .routed_tokens = {6 * number_, 0, number_, 6 * number_, 0, 0}},
                             RoundingKey(SecretOf(static_cast<uint8_t>(number_)), session_->id()));
    ASSERT_THAT(vector, IsOk()) << vector.status();
    elements_.resize(static_cast<size_t>(vector->element_count()));
    ASSERT_THAT(vector->Read(0, elements_), IsOk());
  }

  void HandIn() {
    if (lies_) ++elements_[static_cast<size_t>(layout_->value_count())];
    EXPECT_THAT(session_->FixInput(SecureClient::DigestOf(elements_)), IsOk());
    std::vector<uint32_t> masked = elements_;
    session_->Masks()->Apply(0, masked);
    const RingBits ring = layout_->quantizer().settings().ring;
    Bytes packed(masked.size() * BytesPerElement(ring));
    PackRing(ring, masked, packed);
    std::vector<Digest> leaves;
    const size_t chunk = kChunkElements * BytesPerElement(ring);
    for (size_t at = 0; at < packed.size(); at += chunk) {
      leaves.push_back(
          MerkleLeaf(ByteSpan(packed).subspan(at, std::min(chunk, packed.size() - at))));
    }
    const Bytes manifest = session_->SignInput(MerkleRoot(leaves))->message;
    const std::string bytes(packed.begin(), packed.end());
    v1::ContributionHeader header = client_->HeaderFor(work_, bytes);
    header.clear_metrics();
    header.set_input_manifest(std::string(manifest.begin(), manifest.end()));
    submitted_ = client_->Submit(header, bytes);
    EXPECT_THAT(submitted_, IsGrpcOk());
  }

  void Say(const Bytes& message) {
    v1::ClientMessage out;
    v1::SecureAggregationMessage& secure = *out.mutable_secure_aggregation();
    secure.set_run_id(work_.run_id());
    secure.set_round(work_.round());
    secure.set_attempt(work_.attempt());
    secure.set_message(std::string(message.begin(), message.end()));
    client_->Send(out);
  }

  std::unique_ptr<FakeClient> client_;
  uint32_t number_;
  v1::CoordinatorMessage next_;  // Behind the last one of the session.
  v1::RoundAssignment work_;
  std::optional<MaskedLayout> layout_;
  std::unique_ptr<ClientSession> session_;
  std::vector<uint32_t> elements_;
  grpc::Status submitted_;
  bool lies_ = false;
};

struct Size {
  int ring_bits;
  int64_t features;  // Of the one layer, either way.
};

class SecureRunOverTlsTest : public ServerTest, public ::testing::WithParamInterface<Size> {
 protected:
  void SetUp() override {
    std::map<std::string, std::shared_ptr<const SigningKey>> keys;
    for (uint32_t number = 1; number <= kClients; ++number) {
      keys[Name(number)] = SigningKeyOf(CipherSuite::kCurve25519, number);
    }
    signing_roster_ = std::make_shared<const SigningRoster>(federation_.SignRoster(keys));
    server_.reset();
    StartServer();
    for (uint32_t number = 1; number <= kClients; ++number) {
      hospitals_.push_back(std::make_unique<SecureHospital>(ConnectClient(Name(number)), number));
    }
  }

  static std::string Name(uint32_t number) { return "site-" + std::to_string(number); }

  std::string SecurePlan() const {
    return testing::TinyPlanToml({.rounds = "count = 2\nquorum = 4",
                                  .mode = "secure",
                                  .more = fmt::format("[secure]\n"
                                                      "min_cohort = 4\n"
                                                      "max_cohort = 5\n"
                                                      "max_weight = 64\n"
                                                      "ring_bits = {}\n",
                                                      GetParam().ring_bits)});
  }

  void Start() {
    v1::StartRunRequest request = StartRequest(2, 4);
    request.set_plan_toml(SecurePlan());
    model_ = *BaseModelDescriptionFromJson(TinyModelJson());
    model_.linear_layers[0].in_features = GetParam().features;
    model_.linear_layers[0].out_features = GetParam().features;
    model_.experts_per_token = 1;
    model_.routed_expert_count = 3;
    for (const char* name : {"model.layers.0.mlp.gate", "model.layers.1.mlp.gate"}) {
      model_.linear_layers.push_back({name, LayerKind::kRouter, GetParam().features, 3});
    }
    request.set_base_model_json(ToJson(model_));
    v1::RunStatus run;
    ASSERT_THAT(TryStart(request, &run), IsGrpcOk());
    run_ = run.run_id();
    plan_ = *ParsePlan(SecurePlan(), "plan.toml");
    layout_.emplace(*ResolveTargets(model_, plan_.adapter));
    routing_ = *RoutingShapeOf(model_, plan_.training);
    for (const auto& hospital : hospitals_) hospital->client().Join(0);
  }

  // From the assignments to the next ones, each hospital on a thread of its own.
  void PlayRound() {
    for (const auto& hospital : hospitals_) {
      hospital->Train(plan_, SecurePlan(), *layout_, routing_, *signing_roster_);
    }
    std::vector<std::jthread> threads;
    for (const auto& hospital : hospitals_) {
      threads.emplace_back([&hospital] {
        while (hospital->Answer()) {
        }
      });
    }
  }

  Plan plan_;
  BaseModelDescription model_;
  std::optional<AdapterLayout> layout_;
  RoutingShape routing_;
  std::string run_;
  std::vector<std::unique_ptr<SecureHospital>> hospitals_;
};

TEST_P(SecureRunOverTlsTest, GivesTheBytesOfThePlainSum) {
  Start();
  PlayRound();
  // In the clear, from the same vectors.
  const auto seed = static_cast<uint64_t>(plan_.training.seed);
  SecureAttempt attempt;
  attempt.factors = FactorSet::kBoth;
  attempt.routing = routing_;
  const MaskedLayout masked = *MaskedLayoutOf(plan_, *layout_, attempt);
  std::vector<uint32_t> sum(static_cast<size_t>(masked.element_count()));
  for (const auto& hospital : hospitals_) {
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i] = (sum[i] + hospital->elements()[i]) & RingMask(plan_.secure.ring);
    }
  }
  const auto unmasked =
      UnmaskedSum::Create(masked, FactorSet::kBoth, testing::InMemory(sum), kClients);
  ASSERT_THAT(unmasked, IsOk()) << unmasked.status();
  const auto next = NextAdapter(*layout_, OptimizedAdapter(InitialAdapter(*layout_, seed)),
                                *unmasked, ServerStepOf(plan_, 0));
  ASSERT_THAT(next, IsOk());

  // Everyone is given the next round, on the adapter that follows.
  const v1::GetRunResponse run = GetRun(run_);
  ASSERT_EQ(run.rounds_size(), 1);
  EXPECT_EQ(run.rounds(0).contributions(), kClients);
  EXPECT_EQ(run.rounds(0).example_count(), 10 * (1 + 2 + 3 + 4 + 5));
  EXPECT_NEAR(run.rounds(0).training_loss(), 1.5, 1e-4);
  ASSERT_EQ(run.rounds(0).routing_size(), 2);
  EXPECT_THAT(run.rounds(0).routing(0).expert_tokens(), ::testing::ElementsAre(90, 0, 15));
  EXPECT_THAT(run.rounds(0).routing(1).expert_tokens(), ::testing::ElementsAre(90, 0, 0));
  EXPECT_DOUBLE_EQ(run.rounds(0).routing(1).idle_share(), 2.0 / 3);
  const std::string bytes = hospitals_[0]->client().Fetch(run.rounds(0).adapter_sha256());
  EXPECT_EQ(bytes, std::string(ValueBytes(next->values)));

  // And it is the weighted mean, within the steps of the quantiser and of fp32.
  const std::vector<float> initial = InitialAdapter(*layout_, seed);
  for (size_t i = 0; i < initial.size(); i += 97) {
    double mean = 0;
    for (const auto& hospital : hospitals_) {
      mean += 10.0 * hospital->number() * static_cast<double>(hospital->DeltaAt(i));
    }
    EXPECT_NEAR(next->values[i] - initial[i], mean / 150,
                10 * MeanStep(masked.quantizer().settings(), 150) + 1e-7);
  }
}

INSTANTIATE_TEST_SUITE_P(RingsAndSizes, SecureRunOverTlsTest,
                         ::testing::Values(Size{32, 3}, Size{24, 700}, Size{16, 64},
                                           Size{32, 700'000}));

using LyingHospitalTest = SecureRunOverTlsTest;

// There is nobody else to ask, and nobody can tell who it is.
TEST_P(LyingHospitalTest, EndsTheRunAndEveryoneWhoMayBeItIsNamed) {
  Start();
  hospitals_[2]->Lie();
  PlayRound();
  const std::string all = "site-1, site-2, site-3, site-4, site-5";
  EXPECT_THAT(GetRun(run_).rounds(0).burnt(), ::testing::EndsWith("; it was one of " + all));
  PlayRound();
  const v1::RunStatus run = GetRun(run_).run();
  EXPECT_EQ(run.state(), v1::RunStatus::STATE_FAILED);
  EXPECT_THAT(run.reason(), ::testing::HasSubstr("it was one of " + all + "; the one before it: "));
  EXPECT_THAT(run.reason(), ::testing::EndsWith("; it was one of " + all));
}

INSTANTIATE_TEST_SUITE_P(ASmallOne, LyingHospitalTest, ::testing::Values(Size{32, 3}));

}  // namespace
}  // namespace fedtune::testing
