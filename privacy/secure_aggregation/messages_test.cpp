// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/messages.h"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/secure_round.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::SecretOf;

Bytes Signature(uint8_t byte) { return Bytes(kSignatureSize, byte); }

Advertisement SomeAdvertisement(uint32_t number, size_t key_size) {
  return {.number = number,
          .share_key = Bytes(key_size, 1),
          .mask_key = Bytes(key_size, 2),
          .nonce = Sha256Of("nonce"),
          .model = Sha256Of("model"),
          .mask_salt_check = Sha256Of("salt"),
          .signature = Signature(3)};
}

PlaceSet Places(int places, std::initializer_list<int> members) {
  PlaceSet set(places);
  for (const int place : members) set.Insert(place);
  return set;
}

UnmaskShares SomeUnmaskShares(bool salt) {
  UnmaskShares message;
  for (int i = 0; i < 9; ++i) {
    message.shares.emplace_back();
    if (i != 4) message.shares.back() = SecretBytes(Bytes(kShareSize, 5));
  }
  if (salt) message.mask_salt = SecretOf(6);
  return message;
}

// Decodes as `kind` and encodes again.
absl::StatusOr<Bytes> Recoded(MessageKind kind, ByteSpan message) {
  const auto recode = [](const auto& decoded) -> absl::StatusOr<Bytes> {
    if (!decoded.ok()) return decoded.status();
    return Encode(*decoded);
  };
  switch (kind) {
    case MessageKind::kAdvertisement:
      return recode(DecodeAdvertisement(message));
    case MessageKind::kKeyDirectory:
      return recode(DecodeKeyDirectory(message));
    case MessageKind::kShares:
      return recode(DecodeShares(message));
    case MessageKind::kSharesForYou:
      return recode(DecodeSharesForYou(message));
    case MessageKind::kInputManifest:
      return recode(DecodeInputManifest(message));
    case MessageKind::kSurvivors:
      return recode(DecodeSurvivors(message));
    case MessageKind::kAgreement:
      return recode(DecodeAgreement(message));
    case MessageKind::kAgreementProof:
      return recode(DecodeAgreementProof(message));
    case MessageKind::kUnmaskShares:
      return recode(DecodeUnmaskShares(message));
  }
  return absl::InternalError("no such message");
}

std::vector<Bytes> Examples() {
  const Bytes sealed(kSealedSize, 8);
  return {Encode(SomeAdvertisement(7, 32)),
          Encode(SomeAdvertisement(7, 65)),
          Encode(KeyDirectory{.client_count = 3,
                              .root = Sha256Of("root"),
                              .entries = {{0, SomeAdvertisement(1, 32), {}},
                                          {2, SomeAdvertisement(9, 32), {Digest(), Digest()}}}}),
          Encode(Shares{Sha256Of("seed"), {sealed, sealed}, Signature(1)}),
          Encode(Shares{Sha256Of("seed"), {}, Signature(1)}),
          Encode(SharesForYou{Places(11, {0, 3, 10}),
                              {{Sha256Of("a"), Sha256Of("b"), sealed, Signature(2)},
                               {Sha256Of("c"), Sha256Of("d"), sealed, Signature(3)}}}),
          Encode(InputManifest{Sha256Of("chunks"), Signature(4)}),
          Encode(Survivors{Places(8, {0, 7})}),
          Encode(Survivors{Places(17, {16})}),
          Encode(Survivors{PlaceSet()}),
          Encode(Agreement{Signature(5)}),
          Encode(AgreementProof{{{0, Signature(6)}, {4, Signature(7)}}}),
          Encode(SomeUnmaskShares(false)),
          Encode(SomeUnmaskShares(true))};
}

class MessagesTest : public ::testing::TestWithParam<size_t> {
 protected:
  MessagesTest() : message_(Examples()[GetParam()]), kind_(*KindOf(message_)) {}

  Bytes message_;
  MessageKind kind_;
};

TEST_P(MessagesTest, ComeBackAsTheyWere) {
  const absl::StatusOr<Bytes> recoded = Recoded(kind_, message_);
  ASSERT_THAT(recoded, IsOk());
  EXPECT_EQ(*recoded, message_);
}

TEST_P(MessagesTest, AreRefusedWhenCutShortOrLonger) {
  for (size_t size = 0; size < message_.size(); ++size) {
    EXPECT_THAT(Recoded(kind_, ByteSpan(message_).first(size)),
                HasCode(absl::StatusCode::kInvalidArgument))
        << size;
  }
  Bytes longer = message_;
  longer.push_back(0);
  EXPECT_THAT(Recoded(kind_, longer), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_P(MessagesTest, AreNotTakenForOthers) {
  for (uint8_t other = 1; other <= 9; ++other) {
    if (other == message_[0]) continue;
    EXPECT_THAT(Recoded(static_cast<MessageKind>(other), message_),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

// Whatever is taken has these bytes and no others.
TEST_P(MessagesTest, HaveOneEncoding) {
  std::mt19937 random(3);
  int taken = 0;
  for (int run = 0; run < 4000; ++run) {
    Bytes changed = message_;
    const size_t changes = 1 + random() % 3;
    for (size_t i = 0; i < changes; ++i) {
      changed[1 + random() % std::min<size_t>(changed.size() - 1, 40)] =
          static_cast<uint8_t>(random() % 3 == 0 ? random() : random() % 4);
    }
    const absl::StatusOr<Bytes> recoded = Recoded(kind_, changed);
    if (!recoded.ok()) continue;
    ++taken;
    ASSERT_EQ(*recoded, changed);
  }
  EXPECT_GT(taken, 0);
}

INSTANTIATE_TEST_SUITE_P(Examples, MessagesTest, ::testing::Range(size_t{0}, Examples().size()));

TEST(MessageTest, BitsBehindTheLastPlaceAreZero) {
  Bytes message = Encode(Survivors{Places(11, {10})});
  ASSERT_EQ(message.back(), 1 << 2);
  message.back() |= 1 << 3;
  EXPECT_THAT(DecodeSurvivors(message), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(MessageTest, HasASize) {
  EXPECT_THAT(KindOf({}), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KindOf(Bytes{0}), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KindOf(Bytes{10}), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KindOf(Bytes(kLargestMessage, 1)), IsOk());
  EXPECT_THAT(KindOf(Bytes(kLargestMessage + 1, 1)), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(MessageTest, KeysPlacesAndCountsHaveTheirLimits) {
  EXPECT_THAT(DecodeAdvertisement(Encode(SomeAdvertisement(1, kLargestPublicKey + 1))),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DecodeSurvivors(Encode(Survivors{PlaceSet(10'001)})),
              HasCode(absl::StatusCode::kInvalidArgument));
  // A count that the bytes cannot hold: nothing is allocated for it.
  Bytes shares = Encode(Shares{Digest(), {}, Signature(1)});
  shares[33] = 0x7f;
  EXPECT_THAT(DecodeShares(shares), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(PlaceSetTest, CountsAndCompares) {
  const PlaceSet some = Places(10, {1, 9});
  EXPECT_EQ(some.size(), 2);
  EXPECT_TRUE(some.Contains(9));
  EXPECT_FALSE(some.Contains(0));
  EXPECT_TRUE(some.IsPartOf(Places(10, {0, 1, 9})));
  EXPECT_FALSE(some.IsPartOf(Places(10, {0, 1})));
  EXPECT_FALSE(some.IsPartOf(Places(11, {0, 1, 9})));
}

}  // namespace
}  // namespace fedtune
