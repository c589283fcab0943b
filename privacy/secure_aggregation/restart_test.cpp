// SPDX-License-Identifier: Apache-2.0

// Processes that end before and after every step. A client goes on from its
// records and the coordinator from what it has heard, with the same bytes.

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::SecureClient;
using testing::SecureRound;
using Phase = CoordinatorSession::Phase;
using Step = ClientSession::Step;

// A client whose process ends before and after each of its steps.
class DyingClient {
 public:
  DyingClient(const SecureRound& round, uint32_t number) : round_(&round), number_(number) {}

  ClientSession Resumed() const {
    absl::StatusOr<ClientSession> session =
        ClientSession::Resume(round_->ClientOptions(number_), records_);
    Check(session.ok(), session.status().ToString());
    return *std::move(session);
  }

  Bytes Advertise() {
    return Take([](ClientSession& session) { return session.Advertise(); });
  }
  Bytes Receive(const Bytes& message) {
    return Take([message](ClientSession& session) { return session.Receive(message); });
  }

  SecureClient::Input MaskedInput() {
    SecureClient::Input input{round_->Input(number_), {}};
    const Digest fixed = SecureClient::DigestOf(input.masked);
    Take([fixed](ClientSession& session) { return session.FixInput(fixed); });
    Resumed().Masks()->Apply(0, input.masked);
    const Digest root = SecureClient::DigestOf(input.masked);
    input.manifest = Take([root](ClientSession& session) { return session.SignInput(root); });
    // The masks are the same ones again, before and after the manifest is signed.
    std::vector<uint32_t> again = round_->Input(number_);
    Resumed().Masks()->Apply(0, again);
    EXPECT_EQ(again, input.masked);
    return input;
  }

 private:
  using Act = std::function<absl::StatusOr<Step>(ClientSession&)>;

  Bytes Take(const Act& act) {
    ClientSession killed_before_it_stored = Resumed();
    const absl::StatusOr<Step> never_sent = act(killed_before_it_stored);
    ClientSession killed_before_it_sent = Resumed();
    const absl::StatusOr<Step> taken = act(killed_before_it_sent);
    Check(never_sent.ok() && taken.ok(), taken.status().ToString());
    // An ECDSA signature is a new one each time; it has not left.
    if (round_->parameters().suite == CipherSuite::kCurve25519) {
      EXPECT_EQ(never_sent->message, taken->message);
      EXPECT_EQ(never_sent->record, taken->record);
    }
    if (taken->record.empty()) return taken->message;  // It was asked before.
    records_.push_back(taken->record);
    told_.push_back({act, taken->message});
    // Whatever it has ever been asked, it says the same to it.
    for (const auto& [earlier, message] : told_) {
      ClientSession session = Resumed();
      const absl::StatusOr<Step> repeated = earlier(session);
      EXPECT_THAT(repeated, IsOk());
      if (!repeated.ok()) continue;
      EXPECT_EQ(repeated->message, message);
      EXPECT_TRUE(repeated->record.empty());
    }
    return taken->message;
  }

  const SecureRound* round_;
  uint32_t number_;
  std::vector<Bytes> records_;
  std::vector<std::pair<Act, Bytes>> told_;
};

// A round of clients that die at every step, and of a coordinator that dies when
// the survivors are known and at two moments later on.
class DyingRound {
 public:
  DyingRound(const SecureRound& round, uint32_t drops, MessageKind before)
      : round_(round),
        drops_(drops),
        before_(before),
        coordinator_(round.Coordinator()),
        sum_(static_cast<size_t>(round.parameters().element_count)) {
    for (const uint32_t number : round.CoordinatorOptions().cohort) {
      clients_.emplace(number, DyingClient(round, number));
    }
  }

  void Play() {
    for (auto& [number, client] : clients_) {
      if (Says(number, MessageKind::kAdvertisement)) Deliver(number, client.Advertise());
    }
    while (coordinator_.phase() < Phase::kAgreeing) PlayPhase(clients_.size());
    ASSERT_EQ(coordinator_.phase(), Phase::kAgreeing) << coordinator_.failure();
    known_ = heard_.size();
    survivors_ = coordinator_.Survivors();
    Restore();
    PlayPhase(2);  // Some have agreed.
    Restore();
    PlayPhase(clients_.size());
    ASSERT_EQ(coordinator_.phase(), Phase::kUnmasking) << coordinator_.failure();
    PlayPhase(2);  // Some have given their shares.
    Restore(/*backwards=*/true);
    PlayPhase(3);  // Enough have agreed, and others than before.
    while (coordinator_.phase() < Phase::kDone) PlayPhase(clients_.size());
    ASSERT_EQ(coordinator_.phase(), Phase::kDone) << coordinator_.failure();
    std::vector<uint32_t> sum = sum_;
    coordinator_.Masks().Apply(0, sum);
    EXPECT_EQ(sum, round_.PlainSum(survivors_));
  }

 private:
  bool Says(uint32_t number, MessageKind kind) const { return number != drops_ || kind < before_; }

  void Deliver(uint32_t number, const Bytes& answer) {
    if (answer.empty()) return;
    Hear([number, answer](CoordinatorSession& session) {
      EXPECT_THAT(session.Receive(number, answer), IsOk());
    });
  }

  bool Advance(bool time_is_up) {
    const Phase before = coordinator_.phase();
    Hear([time_is_up](CoordinatorSession& session) { session.Advance(time_is_up); });
    return coordinator_.phase() != before;
  }

  void Hear(std::function<void(CoordinatorSession&)> what) {
    what(coordinator_);
    heard_.push_back(std::move(what));
  }

  // Another process goes on from when the survivors were known, as what came later
  // was not stored: the same survivors, the same questions.
  // Whose answers come first need not be as before.
  void Restore(bool backwards = false) {
    backwards_ = backwards;
    heard_.resize(known_);
    coordinator_ = round_.Coordinator();
    for (const auto& what : heard_) what(coordinator_);
    ASSERT_EQ(coordinator_.phase(), Phase::kAgreeing);
    EXPECT_EQ(coordinator_.Survivors(), survivors_);
    for (const uint32_t number : survivors_) {
      const Bytes asked = coordinator_.MessageFor(number);
      EXPECT_TRUE(agreeing_.emplace(number, asked).first->second == asked);
    }
  }

  // With the answers of `most` clients; on time, or else the phase ends if enough
  // of them are there.
  void PlayPhase(size_t most) {
    std::vector<uint32_t> awaited = coordinator_.Awaited();
    if (backwards_) std::reverse(awaited.begin(), awaited.end());
    for (size_t i = 0; i < std::min(most, awaited.size()); ++i) Ask(awaited[i]);
    if (!Advance(false) && most == clients_.size()) Advance(true);
  }

  void Ask(uint32_t number) {
    const Bytes message = coordinator_.MessageFor(number);
    if (message.empty() || !Says(number, static_cast<MessageKind>(message[0] + 1))) return;
    DyingClient& client = clients_.at(number);
    Bytes answer = client.Receive(message);
    if (message[0] == static_cast<uint8_t>(MessageKind::kSharesForYou)) {
      SecureClient::Input input = client.MaskedInput();
      round_.Add(input.masked, sum_);
      answer = std::move(input.manifest);
    }
    Deliver(number, answer);
    // Who agreed late is asked for its shares at once.
    if (message[0] == static_cast<uint8_t>(MessageKind::kSurvivors) &&
        coordinator_.phase() == Phase::kUnmasking) {
      Ask(number);
    }
  }

  const SecureRound& round_;
  uint32_t drops_;
  MessageKind before_;
  CoordinatorSession coordinator_;
  std::map<uint32_t, DyingClient> clients_;
  std::vector<uint32_t> sum_;
  std::vector<std::function<void(CoordinatorSession&)>> heard_;
  size_t known_ = 0;  // Of them, when the survivors were known.
  std::vector<uint32_t> survivors_;
  std::map<uint32_t, Bytes> agreeing_;
  bool backwards_ = false;
};

class RestartTest : public ::testing::TestWithParam<std::tuple<CipherSuite, bool>> {
 protected:
  SecureRound Round() const {
    return SecureRound({.clients = 4,
                        .elements = 5,
                        .suite = std::get<0>(GetParam()),
                        .federation_key = std::get<1>(GetParam())});
  }
};

TEST_P(RestartTest, NobodyDrops) {
  const SecureRound round = Round();
  DyingRound(round, 0, MessageKind::kAdvertisement).Play();
}

TEST_P(RestartTest, OneDropsBeforeOneOfItsMessages) {
  const SecureRound round = Round();
  for (uint32_t drops = 1; drops <= 4; ++drops) {
    for (const auto before :
         {MessageKind::kAdvertisement, MessageKind::kShares, MessageKind::kInputManifest,
          MessageKind::kAgreement, MessageKind::kUnmaskShares}) {
      SCOPED_TRACE(std::to_string(drops) + " " + std::to_string(static_cast<int>(before)));
      DyingRound(round, drops, before).Play();
    }
  }
}

#ifdef FEDTUNE_UNDER_SANITIZER
const auto kFederationKeys = ::testing::Values(true);
#else
const auto kFederationKeys = ::testing::Bool();
#endif

INSTANTIATE_TEST_SUITE_P(Suites, RestartTest,
                         ::testing::Combine(::testing::Values(CipherSuite::kCurve25519,
                                                              CipherSuite::kNistP256),
                                            kFederationKeys));

}  // namespace
}  // namespace fedtune
