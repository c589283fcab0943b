// SPDX-License-Identifier: Apache-2.0

// Processes that end before and after every step. A client goes on from its
// records and the coordinator from what it saved, with the same bytes; what is
// damaged, or of somebody else, is refused.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using ::testing::Not;
using testing::PlayedRound;
using testing::SecretOf;
using testing::SecureClient;
using testing::SecureRound;
using testing::SecureRoundOptions;
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
// it has saved and at two moments later on.
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
    saved_ = coordinator_.Save();
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
    EXPECT_THAT(coordinator_.Receive(number, answer), IsOk());
  }

  // Another process takes the session up: the same survivors, the same questions.
  // Whose answers come first need not be as before.
  void Restore(bool backwards = false) {
    backwards_ = backwards;
    absl::StatusOr<CoordinatorSession> restored =
        CoordinatorSession::Restore(round_.CoordinatorOptions(), saved_);
    ASSERT_THAT(restored, IsOk());
    coordinator_ = *std::move(restored);
    EXPECT_EQ(coordinator_.Survivors(), survivors_);
    EXPECT_EQ(coordinator_.Save(), saved_);
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
    if (!coordinator_.Advance(false) && most == clients_.size()) coordinator_.Advance(true);
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
  Bytes saved_;
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

INSTANTIATE_TEST_SUITE_P(Suites, RestartTest,
                         ::testing::Combine(::testing::Values(CipherSuite::kCurve25519,
                                                              CipherSuite::kNistP256),
                                            ::testing::Bool()));

// ---- A client's records ----

class RecordsTest : public ::testing::Test {
 protected:
  RecordsTest() : round_(SecureRoundOptions()), records_(RecordsOf(round_, 2)) {}

  static std::vector<Bytes> RecordsOf(const SecureRound& round, uint32_t number) {
    PlayedRound played(round);
    played.Play();
    Check(played.coordinator().phase() == Phase::kDone, played.coordinator().failure());
    return played.client(number).records();
  }

  absl::Status Resumed(const std::vector<Bytes>& records) const {
    return ClientSession::Resume(round_.ClientOptions(2), records).status();
  }

  SecureRound round_;
  std::vector<Bytes> records_;
};

TEST_F(RecordsTest, AreRefusedWhenCutShort) {
  ASSERT_EQ(records_.size(), 7u);
  for (size_t at = 0; at < records_.size(); ++at) {
    std::vector<Bytes> records(records_.begin(), records_.begin() + static_cast<long>(at) + 1);
    ASSERT_THAT(Resumed(records), IsOk());
    while (!records.back().empty()) {
      records.back().pop_back();
      ASSERT_THAT(Resumed(records), HasCode(absl::StatusCode::kDataLoss))
          << at << " " << records.back().size();
    }
  }
}

TEST_F(RecordsTest, AreRefusedWhenOneBitIsAnother) {
  for (size_t at = 0; at < records_.size(); ++at) {
    for (size_t byte = 0; byte < records_[at].size(); ++byte) {
      std::vector<Bytes> records(records_.begin(), records_.begin() + static_cast<long>(at) + 1);
      records[at][byte] ^= static_cast<uint8_t>(1 << byte % 8);
      ASSERT_THAT(Resumed(records), HasCode(absl::StatusCode::kDataLoss)) << at << " " << byte;
    }
  }
}

TEST_F(RecordsTest, AreRefusedWhenOneIsMissingTwiceOrOutOfOrder) {
  for (size_t at = 0; at + 1 < records_.size(); ++at) {
    std::vector<Bytes> missing = records_;
    missing.erase(missing.begin() + static_cast<long>(at));
    EXPECT_THAT(Resumed(missing), HasCode(absl::StatusCode::kDataLoss)) << at;
    std::vector<Bytes> swapped = records_;
    std::swap(swapped[at], swapped[at + 1]);
    EXPECT_THAT(Resumed(swapped), HasCode(absl::StatusCode::kDataLoss)) << at;
    std::vector<Bytes> twice = records_;
    twice.insert(twice.begin() + static_cast<long>(at), twice[at]);
    EXPECT_THAT(Resumed(twice), HasCode(absl::StatusCode::kDataLoss)) << at;
  }
}

TEST_F(RecordsTest, OfAnotherClientOrSessionAreRefused) {
  SecureRound next(SecureRoundOptions{});
  next.parameters().round += 1;
  for (const std::vector<Bytes>& foreign : {RecordsOf(round_, 3), RecordsOf(next, 2)}) {
    for (size_t at = 0; at < records_.size(); ++at) {
      std::vector<Bytes> mixed = records_;
      mixed[at] = foreign[at];
      EXPECT_THAT(Resumed(mixed), HasCode(absl::StatusCode::kDataLoss)) << at;
    }
    EXPECT_THAT(Resumed(foreign), HasCode(absl::StatusCode::kDataLoss));
  }
}

TEST_F(RecordsTest, DoNotGoWithAnotherSecretKeyOrModel) {
  ClientSession::Options options = round_.ClientOptions(2);
  options.round_secret = SecretOf(0x77);
  const std::vector<Bytes> first(records_.begin(), records_.begin() + 1);
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.ClientOptions(2);
  options.federation_key = SecretOf(0x77);
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.ClientOptions(2);
  options.model = Sha256Of("another");
  EXPECT_THAT(ClientSession::Resume(std::move(options), first),
              HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(RecordsTest, RememberWhatWasAgreed) {
  PlaceSet fewer(4);
  for (const int place : {0, 1, 2}) fewer.Insert(place);
  for (const size_t agreed : {size_t{6}, size_t{7}}) {
    absl::StatusOr<ClientSession> session =
        ClientSession::Resume(round_.ClientOptions(2), std::span(records_).first(agreed));
    ASSERT_THAT(session, IsOk());
    EXPECT_TRUE(session->has_agreed());
    EXPECT_THAT(session->Receive(Encode(Survivors{fewer})),
                HasCode(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(session->failure(), Not(IsOk()));
  }
}

// ---- What the coordinator saved ----

class SavedSessionTest : public ::testing::Test {
 protected:
  SavedSessionTest() : round_(SecureRoundOptions()), played_(round_) {}

  // Up to where it is saved, when number 1 does one thing wrong.
  Bytes SavedAfter(MessageKind wrong) {
    played_.Lies(1, [wrong](const Bytes&, Bytes answer) {
      if (!answer.empty() && answer[0] == static_cast<uint8_t>(wrong)) answer.back() ^= 1;
      return answer;
    });
    played_.PlayUntil(Phase::kAgreeing);
    Check(played_.coordinator().phase() == Phase::kAgreeing, played_.coordinator().failure());
    return played_.coordinator().Save();
  }

  absl::StatusOr<CoordinatorSession> Restored(const Bytes& saved) const {
    return CoordinatorSession::Restore(round_.CoordinatorOptions(), saved);
  }

  SecureRound round_;
  PlayedRound played_;
};

TEST_F(SavedSessionTest, IsTakenUpAfterAClientWasCaughtLying) {
  for (const auto wrong :
       {MessageKind::kAdvertisement, MessageKind::kShares, MessageKind::kInputManifest}) {
    played_ = PlayedRound(round_);
    const Bytes saved = SavedAfter(wrong);
    const absl::StatusOr<CoordinatorSession> restored = Restored(saved);
    ASSERT_THAT(restored, IsOk()) << static_cast<int>(wrong);
    EXPECT_EQ(restored->Survivors(), played_.coordinator().Survivors());
    EXPECT_EQ(restored->Survivors(), (std::vector<uint32_t>{2, 3, 4}));
    EXPECT_EQ(restored->Awaited(), played_.coordinator().Awaited());
  }
}

// Everyone has answered, and one is dropped before the phase is ended.
TEST_F(SavedSessionTest, IsTakenUpAfterADropThatCameWithTheLastAnswer) {
  played_.PlayUntil(Phase::kSharing);
  played_.PlayPhase();
  played_.coordinator().Drop(4);
  played_.PlayUntil(Phase::kAgreeing);
  const absl::StatusOr<CoordinatorSession> restored = Restored(played_.coordinator().Save());
  ASSERT_THAT(restored, IsOk());
  EXPECT_EQ(restored->Survivors(), (std::vector<uint32_t>{1, 2, 3}));
}

TEST_F(SavedSessionTest, IsRefusedWhenCutShortOrOneBitIsAnother) {
  played_.DropBefore(3, MessageKind::kInputManifest);
  const Bytes saved = SavedAfter(MessageKind::kAgreement);
  ASSERT_THAT(Restored(saved), IsOk());
  for (size_t size = 0; size < saved.size(); ++size) {
    const Bytes shorter(saved.begin(), saved.begin() + static_cast<long>(size));
    ASSERT_THAT(Restored(shorter), HasCode(absl::StatusCode::kDataLoss)) << size;
    Bytes changed = saved;
    changed[size] ^= static_cast<uint8_t>(1 << size % 8);
    ASSERT_THAT(Restored(changed), HasCode(absl::StatusCode::kDataLoss)) << size;
  }
  Bytes longer = saved;
  longer.push_back(0);
  EXPECT_THAT(Restored(longer), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SavedSessionTest, OfAnotherSessionIsRefused) {
  const Bytes saved = SavedAfter(MessageKind::kAgreement);
  CoordinatorSession::Options options = round_.CoordinatorOptions();
  options.parameters.attempt += 1;
  EXPECT_THAT(CoordinatorSession::Restore(std::move(options), saved),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.CoordinatorOptions();
  options.cohort.pop_back();
  EXPECT_THAT(CoordinatorSession::Restore(std::move(options), saved),
              HasCode(absl::StatusCode::kDataLoss));
  options = round_.CoordinatorOptions();
  options.model = Sha256Of("another");
  EXPECT_THAT(CoordinatorSession::Restore(std::move(options), saved),
              HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedtune
