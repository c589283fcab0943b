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
