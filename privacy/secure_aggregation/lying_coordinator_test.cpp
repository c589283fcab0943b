// SPDX-License-Identifier: Apache-2.0

// A coordinator that lies in every message, sides with some of the clients, and
// starts clients again in between. Whatever it says, of no honest client both
// secrets can be had, and none answers a second story.

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/secure_aggregation/statements.h"
#include "tests/support/secure_round.h"

namespace fedtune {
namespace {

using testing::SecureClient;
using testing::SecureRound;
using testing::SecureRoundOptions;
using testing::SigningKeyOf;

#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int kRunsPerShard = 150;
#else
constexpr int kRunsPerShard = 625;
#endif
constexpr int kShards = 4;

// How often what happened, to see that the test tests something.
struct Tally {
  int lies_refused = 0;
  int unmasked = 0;
};

class LyingCoordinator {
 public:
  explicit LyingCoordinator(uint32_t seed, Tally& tally)
      : random_(seed), tally_(tally), options_(Options()), round_(options_) {
    for (uint32_t number = 1; number <= static_cast<uint32_t>(options_.clients); ++number) {
      clients_.emplace(number, SecureClient(round_, number));
    }
    session_ = SessionId(round_.parameters());
  }

  void Run() {
    Advertise();
    SendDirectories();
    SendShares();
    TellSurvivors();
    ProveAgreement();
    // And all over again, with other sets, to clients that remember or that were
    // started again.
    for (auto& [number, client] : clients_) MaybeRestart(client);
    TellSurvivors();
    ProveAgreement();
    CheckNoSecondSecret();
  }

 private:
  bool IsCorrupt(uint32_t number) const {
    return number <= static_cast<uint32_t>(options_.assumed_corrupt);
  }
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  bool Chance(uint32_t one_in) { return Random(one_in) == 0; }

  SecureRoundOptions Options() {
    SecureRoundOptions options;
    options.clients = 4 + static_cast<int>(Random(3));
    options.elements = 3;
    const int most = 2 * CompleteGraphThreshold(options.clients) - options.clients - 1;
    options.assumed_corrupt = static_cast<int>(Random(static_cast<uint32_t>(most) + 1));
    return options;
  }

  void MaybeRestart(SecureClient& client) {
    if (!Chance(10)) return;
    const absl::Status restarted = client.Restart();
    EXPECT_TRUE(restarted.ok()) << restarted;
  }

  // A message as it should be, or something else.
  Bytes Spoil(Bytes message) {
    sent_.push_back(message);
    switch (Random(10)) {
      case 0:
        message[Random(static_cast<uint32_t>(message.size()))] ^=
            static_cast<uint8_t>(1 << Random(8));
        break;
      case 1:
        message.resize(Random(static_cast<uint32_t>(message.size())) + 1);
        break;
      case 2:
        return sent_[Random(static_cast<uint32_t>(sent_.size()))];
      default:
        break;
    }
    return message;
  }

  std::optional<Bytes> Send(uint32_t number, const Bytes& message) {
    SecureClient& client = clients_.at(number);
    MaybeRestart(client);
    absl::StatusOr<Bytes> answer = client.Receive(message);
    if (!answer.ok()) {
      ++tally_.lies_refused;
      return std::nullopt;
    }
    return *std::move(answer);
  }

  void Advertise() {
    for (auto& [number, client] : clients_) {
      advertisements_[number] = *DecodeAdvertisement(*client.Advertise());
    }
  }

  // One lie, or none.
  KeyDirectory FalseDirectory() {
    std::map<uint32_t, Advertisement> listed = advertisements_;
    if (Chance(6)) listed.erase(1 + Random(static_cast<uint32_t>(options_.clients)));
    Advertisement& one =
        std::next(listed.begin(), Random(static_cast<uint32_t>(listed.size())))->second;
    switch (Random(8)) {
      case 0:  // A key that the coordinator has made.
        one.mask_key =
            AgreementKey::FromSeed(CipherSuite::kCurve25519, testing::SecretOf(0x66)).public_key();
        break;
      case 1:  // Keys in each other's place.
        std::swap(one.mask_key, one.share_key);
        break;
      case 2:  // Signed, by somebody else.
        one.mask_key[0] ^= 1;
        one.signature =
            SigningKeyOf(CipherSuite::kCurve25519, 1)->Sign(AdvertisementStatement(session_, one));
        break;
      case 3:  // A corrupt client that was given another model, as it says itself.
        if (IsCorrupt(one.number)) {
          one.model = Sha256Of("another model");
          one.signature = SigningKeyOf(CipherSuite::kCurve25519, one.number)
                              ->Sign(AdvertisementStatement(session_, one));
        }
        break;
      default:
        break;
    }
    return DirectoryOf(listed);
  }

  static KeyDirectory DirectoryOf(const std::map<uint32_t, Advertisement>& listed) {
    KeyDirectory directory;
    std::vector<Digest> leaves;
    for (const auto& [number, advertisement] : listed) {
      directory.entries.push_back({.place = static_cast<uint32_t>(leaves.size()),
                                   .advertisement = advertisement,
                                   .proof = {}});
      leaves.push_back(MerkleLeaf(Encode(advertisement)));
    }
    directory.client_count = static_cast<uint32_t>(leaves.size());
    directory.root = MerkleRoot(leaves);
    return directory;
  }

  void SendDirectories() {
    // Mostly one that is good, or nothing would ever come of it.
    const bool lie = Chance(3);
    const KeyDirectory honest = DirectoryOf(advertisements_);
    root_ = honest.root;
    for (auto& [number, client] : clients_) {
      const KeyDirectory directory = lie && Chance(2) ? FalseDirectory() : honest;
      const Bytes message = Encode(directory);
      const std::optional<Bytes> answer = Send(number, lie ? Spoil(message) : message);
      if (!answer.has_value() || (*answer)[0] != static_cast<uint8_t>(MessageKind::kShares))
        continue;
      shares_[number] = *DecodeShares(*answer);
    }
  }

  int PlaceOf(uint32_t number) const { return static_cast<int>(number) - 1; }

  void SendShares() {
    PlaceSet sharers(options_.clients);
    for (const auto& [number, shares] : shares_) sharers.Insert(PlaceOf(number));
    sharers_ = sharers;
    const bool lie = Chance(3);
    for (const auto& [number, own] : shares_) {
      SharesForYou message;
      message.sharers = PlaceSet(options_.clients);
      for (const auto& [other, shares] : shares_) {
        if (lie && other != number && Chance(8)) continue;  // Another U2 for this one.
        message.sharers.Insert(PlaceOf(other));
        if (other == number) continue;
        const auto index = static_cast<size_t>(PlaceOf(number) - (number > other ? 1 : 0));
        // Who was shown fewer clients sealed less.
        const size_t taken = lie && Chance(8) ? 0 : std::min(index, shares.sealed.size() - 1);
        message.entries.push_back({.seed_commitment = shares.seed_commitment,
                                   .all_sealed = HashOfSealed(shares.sealed),
                                   .sealed = shares.sealed[taken],
                                   .signature = shares.signature});
      }
      const Bytes encoded = Encode(message);
      told_sharers_[number] = message.sharers;
      const std::optional<Bytes> answer = Send(number, lie ? Spoil(encoded) : encoded);
      if (!answer.has_value() || !answer->empty()) continue;
      EXPECT_TRUE(clients_.at(number).MaskedInput().ok());
    }
  }

  PlaceSet SomeSurvivors() {
    PlaceSet survivors(options_.clients);
    for (int place = 0; place < options_.clients; ++place) {
      if (sharers_.Contains(place) && !Chance(6)) survivors.Insert(place);
    }
    return survivors;
  }

  // One of two stories to each client, sometimes a third.
  void TellSurvivors() {
    const PlaceSet one = Chance(2) ? sharers_ : SomeSurvivors();
    const PlaceSet other = SomeSurvivors();
    for (auto& [number, client] : clients_) {
      const PlaceSet told = Chance(3) ? other : one;
      const std::optional<Bytes> answer = Send(number, Encode(Survivors{told}));
      if (!answer.has_value() || (*answer)[0] != static_cast<uint8_t>(MessageKind::kAgreement)) {
        continue;
      }
      const auto found = told_.emplace(number, told).first;
      EXPECT_TRUE(found->second == told) << "a client agreed to two sets of survivors";
      agreements_[number] = DecodeAgreement(*answer)->signature;
    }
  }

  Digest SurvivorsHash(uint32_t number) const {
    return HashOfSurvivors(session_, HashOfSharers(session_, root_, told_sharers_.at(number)),
                           told_.at(number));
  }

  // What a corrupt client signs to order, what an honest one has signed if it was
  // told the same, sometimes a forgery; or none.
  std::optional<Bytes> SignatureOn(const Digest& wanted, uint32_t signer) {
    if (IsCorrupt(signer)) {
      return SigningKeyOf(CipherSuite::kCurve25519, signer)
          ->Sign(AgreementStatement(session_, signer, wanted));
    }
    if (told_.contains(signer) && SurvivorsHash(signer) == wanted) return agreements_.at(signer);
    if (Chance(20)) return Bytes(kSignatureSize);
    return std::nullopt;
  }

  // All signatures that there are on what this client was told.
  void ProveAgreement() {
    for (const auto& [number, told] : told_) {
      const Digest wanted = SurvivorsHash(number);
      AgreementProof proof;
      for (uint32_t signer = 1; signer <= static_cast<uint32_t>(options_.clients); ++signer) {
        std::optional<Bytes> signature = SignatureOn(wanted, signer);
        if (!signature.has_value() || !told.Contains(static_cast<int>(signer - 1))) continue;
        proof.entries.push_back({.place = signer - 1, .signature = *std::move(signature)});
      }
      const std::optional<Bytes> answer = Send(number, Encode(proof));
      if (!answer.has_value() || (*answer)[0] != static_cast<uint8_t>(MessageKind::kUnmaskShares)) {
        continue;
      }
      ++tally_.unmasked;
      unmask_[number].insert(*answer);
    }
  }

  void CheckNoSecondSecret() const {
    const int threshold = CompleteGraphThreshold(options_.clients);
    for (const auto& [number, messages] : unmask_) {
      EXPECT_LE(messages.size(), 1u) << "number " << number << " gave shares twice";
      int same_story = options_.assumed_corrupt;
      for (const auto& [other, told] : told_) {
        if (!IsCorrupt(other) && SurvivorsHash(other) == SurvivorsHash(number)) ++same_story;
      }
      EXPECT_GE(same_story, threshold) << "number " << number << " believed too few";
    }
    for (int victim = options_.assumed_corrupt; victim < options_.clients; ++victim) {
      // The corrupt clients hold a share of either secret.
      int self_mask = options_.assumed_corrupt;
      int mask_key = options_.assumed_corrupt;
      for (const auto& [number, messages] : unmask_) {
        if (IsCorrupt(number) || !told_sharers_.at(number).Contains(victim)) continue;
        ++(told_.at(number).Contains(victim) ? self_mask : mask_key);
      }
      EXPECT_FALSE(self_mask >= threshold && mask_key >= threshold)
          << "both secrets of place " << victim << " are out";
    }
  }

  std::mt19937 random_;
  Tally& tally_;
  SecureRoundOptions options_;
  SecureRound round_;
  Digest session_;
  Digest root_;
  std::map<uint32_t, SecureClient> clients_;
  std::map<uint32_t, Advertisement> advertisements_;
  std::map<uint32_t, Shares> shares_;
  std::vector<Bytes> sent_;
  PlaceSet sharers_;
  std::map<uint32_t, PlaceSet> told_sharers_;
  std::map<uint32_t, PlaceSet> told_;
  std::map<uint32_t, Bytes> agreements_;
  std::map<uint32_t, std::set<Bytes>> unmask_;
};

class LyingCoordinatorTest : public ::testing::TestWithParam<int> {};

TEST_P(LyingCoordinatorTest, NeverGetsASecondSecret) {
  Tally tally;
  for (int run = 0; run < kRunsPerShard && !HasFailure(); ++run) {
    const auto seed = static_cast<uint32_t>(GetParam() * kRunsPerShard + run);
    SCOPED_TRACE(seed);
    LyingCoordinator(seed, tally).Run();
  }
  // Most lies are refused, and clients that were told the truth do unmask.
  EXPECT_GT(tally.lies_refused, kRunsPerShard);
  EXPECT_GT(tally.unmasked, kRunsPerShard / 4);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LyingCoordinatorTest, ::testing::Range(0, kShards));

}  // namespace
}  // namespace fedtune
