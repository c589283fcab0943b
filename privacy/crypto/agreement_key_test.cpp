// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/agreement_key.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/hex.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::FromHex;
using testing::HasCode;
using testing::IsOk;
using Octets = std::vector<uint8_t>;

Octets Plain(const SecretBytes& secret) { return {secret.Reveal().begin(), secret.Reveal().end()}; }

AgreementKey Key(CipherSuite suite, uint8_t seed) {
  return AgreementKey::FromSeed(suite, SecretBytes(Octets(kAgreementSeedSize, seed)));
}

class AgreementKeyTest : public ::testing::TestWithParam<CipherSuite> {};

TEST_P(AgreementKeyTest, BothEndsAgree) {
  const AgreementKey anna = Key(GetParam(), 1);
  const AgreementKey benno = Key(GetParam(), 2);
  const absl::StatusOr<SecretBytes> here = anna.Agree(benno.public_key());
  const absl::StatusOr<SecretBytes> there = benno.Agree(anna.public_key());
  ASSERT_THAT(here, IsOk());
  ASSERT_THAT(there, IsOk());
  EXPECT_EQ(*here, *there);
  EXPECT_NE(Plain(*here), Plain(*Key(GetParam(), 3).Agree(benno.public_key())));
}

TEST_P(AgreementKeyTest, ASeedAlwaysStandsForTheSameKey) {
  EXPECT_EQ(Key(GetParam(), 1).public_key(), Key(GetParam(), 1).public_key());
  EXPECT_NE(Key(GetParam(), 1).public_key(), Key(GetParam(), 2).public_key());
}

TEST_P(AgreementKeyTest, RefusesKeysOfAnotherSize) {
  Octets key = Key(GetParam(), 1).public_key();
  key.push_back(0);
  EXPECT_THAT(Key(GetParam(), 2).Agree(key), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Key(GetParam(), 2).Agree({}), HasCode(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(Suites, AgreementKeyTest,
                         ::testing::Values(CipherSuite::kCurve25519, CipherSuite::kNistP256));

AgreementKey X25519Key(const char* seed) {
  return AgreementKey::FromSeed(CipherSuite::kCurve25519, SecretBytes(FromHex(seed)));
}

TEST(X25519Test, GivesTheAnswersOfRfc7748) {
  // Section 5.2.
  EXPECT_EQ(Plain(*X25519Key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
                       .Agree(FromHex(
                           "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))),
            FromHex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
  EXPECT_EQ(Plain(*X25519Key("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d")
                       .Agree(FromHex(
                           "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"))),
            FromHex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"));
  // Section 6.1.
  const AgreementKey alice =
      X25519Key("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const AgreementKey bob =
      X25519Key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  EXPECT_EQ(bob.public_key(),
            FromHex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
  EXPECT_EQ(alice.public_key(),
            FromHex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
  EXPECT_EQ(Plain(*alice.Agree(bob.public_key())),
            FromHex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
}

TEST(X25519Test, IteratesAsRfc7748Says) {
  Octets k = FromHex("0900000000000000000000000000000000000000000000000000000000000000");
  Octets u = k;
  for (int i = 1; i <= 1000; ++i) {
    const Octets next =
        Plain(*AgreementKey::FromSeed(CipherSuite::kCurve25519, SecretBytes(k)).Agree(u));
    u = std::exchange(k, next);
    if (i == 1) {
      EXPECT_EQ(k, FromHex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
    }
  }
  EXPECT_EQ(k, FromHex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

TEST(X25519Test, RefusesPointsOfLowOrder) {
  EXPECT_THAT(Key(CipherSuite::kCurve25519, 1).Agree(Octets(32)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

// Computed by Python's package cryptography from HKDF(seed, "ffl/v1/p256").
TEST(P256Test, ASeedStandsForTheKeyOfAnotherImplementation) {
  // One with an odd y, one with an even one.
  EXPECT_EQ(Key(CipherSuite::kNistP256, 5).public_key(),
            FromHex("049e17c424de81c24724707fe55371be1d48c7c2d250168e68ed7788645b1db4a6"
                    "aafcd64794dac792eac387d1bd001dc116c325604530e306a9add9d30e7cd65b"));
  EXPECT_EQ(Key(CipherSuite::kNistP256, 1).public_key(),
            FromHex("04f8405ae251f53fd9aca5aa77836f031ac6b5262ae4394f40647673baefd05a27"
                    "e3955017e4fe12214b1bbe4b805fd2f2c87c2d1b159a91610268d6e384d770a4"));
}

TEST(P256Test, MakesTheKeysOfTheLeastAndTheGreatestScalar) {
  const Octets generator = FromHex(
      "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
      "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
  Octets one(32);
  one.back() = 1;
  EXPECT_EQ(AgreementKey::FromP256Scalar(SecretBytes(one)).public_key(), generator);
  const Octets greatest =
      FromHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550");
  const Octets negative = AgreementKey::FromP256Scalar(SecretBytes(greatest)).public_key();
  EXPECT_TRUE(std::equal(generator.begin(), generator.begin() + 33, negative.begin()));
  EXPECT_NE(negative, generator);
}

TEST(P256Test, EndsTheProcessWithoutAScalarInRange) {
  EXPECT_DEATH(AgreementKey::FromP256Scalar(SecretBytes(Octets(32))), "in \\[1, n - 1\\]");
  EXPECT_DEATH(AgreementKey::FromP256Scalar(SecretBytes(Octets(32, 0xff))), "in \\[1, n - 1\\]");
}

TEST(P256Test, RefusesPointsThatAreNotOnTheCurve) {
  Octets point = Key(CipherSuite::kNistP256, 1).public_key();
  point.back() ^= 1;
  EXPECT_THAT(Key(CipherSuite::kNistP256, 2).Agree(point),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(P256Test, RefusesCompressedPoints) {
  Octets point = Key(CipherSuite::kNistP256, 1).public_key();
  point[0] = 2;
  EXPECT_THAT(Key(CipherSuite::kNistP256, 2).Agree(point),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
