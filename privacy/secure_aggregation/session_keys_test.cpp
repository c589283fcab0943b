// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/session_keys.h"

#include <optional>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/hkdf.h"

namespace fedtune {
namespace {

SecretBytes Secret(uint8_t byte) { return SecretBytes(Bytes(32, byte)); }

Bytes Revealed(const SecretBytes& secret) {
  return {secret.Reveal().begin(), secret.Reveal().end()};
}

const Digest kSession = Sha256Of("a session");
const Digest kOther = Sha256Of("another session");

TEST(SessionKeysTest, APairsMaskKeyIsTheSameForBoth) {
  EXPECT_TRUE(PairMaskKey(kSession, std::nullopt, Secret(1), 3, 7) ==
              PairMaskKey(kSession, std::nullopt, Secret(1), 7, 3));
}

// HKDF with the SHA-256 of session and federation key as its salt, as in the
// document; written out once more.
TEST(SessionKeysTest, AreDerivedAsTheDocumentSays) {
  const Bytes info = {'f', 'f', 'l', '/', 'v', '1', '/', 'm', 'a', 's',
                      'k', 0,   0,   0,   3,   0,   0,   0,   7};
  Bytes salted(kSession.bytes.begin(), kSession.bytes.end());
  const Digest plain = Sha256Of(ByteSpan(salted));
  EXPECT_TRUE(PairMaskKey(kSession, std::nullopt, Secret(1), 7, 3) ==
              HkdfSha256(Secret(1).Reveal(), plain.bytes, info, 32));
  salted.insert(salted.end(), 32, 9);
  const Digest with_key = Sha256Of(ByteSpan(salted));
  EXPECT_TRUE(PairMaskKey(kSession, Secret(9), Secret(1), 7, 3) ==
              HkdfSha256(Secret(1).Reveal(), with_key.bytes, info, 32));
}

TEST(SessionKeysTest, AreDifferentForEverythingThatDiffers) {
  std::vector<SecretBytes> keys;
  keys.push_back(PairMaskKey(kSession, std::nullopt, Secret(1), 3, 7));
  keys.push_back(PairMaskKey(kOther, std::nullopt, Secret(1), 3, 7));
  keys.push_back(PairMaskKey(kSession, Secret(9), Secret(1), 3, 7));
  keys.push_back(PairMaskKey(kSession, std::nullopt, Secret(2), 3, 7));
  keys.push_back(PairMaskKey(kSession, std::nullopt, Secret(1), 3, 8));
  keys.push_back(ShareSealingKey(kSession, std::nullopt, Secret(1), 3, 7));
  keys.push_back(ShareSealingKey(kSession, std::nullopt, Secret(1), 7, 3));  // Its way back.
  keys.push_back(ShareSealingKey(kOther, std::nullopt, Secret(1), 3, 7));
  keys.push_back(ShareSealingKey(kSession, Secret(9), Secret(1), 3, 7));
  keys.push_back(SelfMaskKey(kSession, Secret(1)));
  keys.push_back(SelfMaskKey(kOther, Secret(1)));
  keys.push_back(MaskSaltOf(Secret(1), kSession));
  keys.push_back(MaskSaltOf(Secret(1), kOther));
  keys.push_back(RoundingKey(Secret(1), kSession));
  std::set<Bytes> different;
  for (const SecretBytes& key : keys) {
    EXPECT_EQ(key.size(), 32u);
    different.insert(Revealed(key));
  }
  EXPECT_EQ(different.size(), keys.size());
}

TEST(SessionKeysTest, CommitmentsAreToOneSecretOfOneClientInOneSession) {
  const std::set<Digest> commitments = {
      CommitToSeed(kSession, 1, Secret(1)),  CommitToSeed(kSession, 1, Secret(2)),
      CommitToSeed(kSession, 2, Secret(1)),  CommitToSeed(kOther, 1, Secret(1)),
      CommitToMaskSalt(kSession, Secret(1)), CommitToMaskSalt(kOther, Secret(1)),
      CommitToMaskSalt(kSession, Secret(2))};
  EXPECT_EQ(commitments.size(), 7u);
}

TEST(SessionKeysTest, ContextsOfSharesAreDifferent) {
  const std::set<Bytes> contexts = {
      ShareContext(kSession, 1, 2, Digest()), ShareContext(kSession, 2, 1, Digest()),
      ShareContext(kOther, 1, 2, Digest()), ShareContext(kSession, 1, 2, kOther)};
  EXPECT_EQ(contexts.size(), 4u);
}

class RoundSecretsTest : public ::testing::TestWithParam<CipherSuite> {};

TEST_P(RoundSecretsTest, FollowFromOneSecretAndTheSession) {
  const RoundSecrets once(Secret(1), kSession, GetParam());
  const RoundSecrets again(Secret(1), kSession, GetParam());
  EXPECT_EQ(once.share_key().public_key(), again.share_key().public_key());
  EXPECT_EQ(once.mask_key().public_key(), again.mask_key().public_key());
  EXPECT_EQ(once.nonce(), again.nonce());
  EXPECT_TRUE(once.self_mask_seed() == again.self_mask_seed());
  EXPECT_TRUE(once.mask_key_coefficients() == again.mask_key_coefficients());
  EXPECT_TRUE(once.self_mask_coefficients() == again.self_mask_coefficients());
  const RoundSecrets other(Secret(1), kOther, GetParam());
  EXPECT_NE(once.share_key().public_key(), other.share_key().public_key());
  EXPECT_NE(once.mask_key().public_key(), other.mask_key().public_key());
  EXPECT_FALSE(once.self_mask_seed() == other.self_mask_seed());
}

TEST_P(RoundSecretsTest, AreAllDifferent) {
  const RoundSecrets secrets(Secret(1), kSession, GetParam());
  const std::set<Bytes> different = {
      Revealed(secrets.mask_key_seed()), Revealed(secrets.self_mask_seed()),
      Revealed(secrets.mask_key_coefficients()), Revealed(secrets.self_mask_coefficients()),
      Bytes(secrets.nonce().bytes.begin(), secrets.nonce().bytes.end())};
  EXPECT_EQ(different.size(), 5u);
  EXPECT_NE(secrets.share_key().public_key(), secrets.mask_key().public_key());
}

// What the coordinator rebuilds from shares is the key that was advertised.
TEST_P(RoundSecretsTest, TheMaskKeyFollowsFromWhatIsShared) {
  const RoundSecrets secrets(Secret(1), kSession, GetParam());
  EXPECT_EQ(AgreementKey::FromSeed(GetParam(), secrets.mask_key_seed()).public_key(),
            secrets.mask_key().public_key());
}

INSTANTIATE_TEST_SUITE_P(Suites, RoundSecretsTest,
                         ::testing::Values(CipherSuite::kCurve25519, CipherSuite::kNistP256));

}  // namespace
}  // namespace fedtune
