// SPDX-License-Identifier: Apache-2.0

// Where only FIPS-approved code is allowed, OpenSSL refuses to fetch any other.
// What still computes without the FIPS provider has gone around it.

#include <openssl/evp.h>
#include <openssl/provider.h>

#include "gtest/gtest.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/agreement_key.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/signing_key.h"

namespace fedtune {
namespace {

using Octets = std::vector<uint8_t>;

SecretBytes Secret() { return SecretBytes(Octets(32, 1)); }

AgreementKey P256Key() { return AgreementKey::FromSeed(CipherSuite::kNistP256, Secret()); }

void AllowOnlyFips() { ASSERT_EQ(EVP_default_properties_enable_fips(nullptr, 1), 1); }

TEST(CipherSuiteTest, BothAreOfferedByDefault) {
  EXPECT_TRUE(IsOffered(CipherSuite::kCurve25519));
  EXPECT_TRUE(IsOffered(CipherSuite::kNistP256));
}

// Each death is in a process of its own, as what is allowed holds for all of it.
class WithoutFipsProviderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (OSSL_PROVIDER_available(nullptr, "fips") == 1) GTEST_SKIP() << "the provider is there";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  void TearDown() override { ASSERT_EQ(EVP_default_properties_enable_fips(nullptr, 0), 1); }
};

TEST_F(WithoutFipsProviderTest, NoSuiteIsOffered) {
  AllowOnlyFips();
  EXPECT_FALSE(IsOffered(CipherSuite::kCurve25519));
  EXPECT_FALSE(IsOffered(CipherSuite::kNistP256));
}

TEST_F(WithoutFipsProviderTest, NothingIsHashed) {
  EXPECT_DEATH((AllowOnlyFips(), Sha256Of("abc")), "SHA-256");
}

TEST_F(WithoutFipsProviderTest, NoKeyIsDerived) {
  EXPECT_DEATH((AllowOnlyFips(), HkdfSha256(Octets(32), {}, {}, 32)), "HKDF");
}

TEST_F(WithoutFipsProviderTest, NothingIsSealedOrOpened) {
  const Octets sealed = SealOnce(Secret(), {}, {});
  EXPECT_DEATH((AllowOnlyFips(), SealOnce(Secret(), {}, {})), "AES-256-GCM");
  EXPECT_DEATH((AllowOnlyFips(), (void)OpenOnce(Secret(), {}, sealed).ok()), "AES-256-GCM");
}

TEST_F(WithoutFipsProviderTest, NoAgreementKeyIsMade) {
  const SecretBytes scalar = Secret();
  EXPECT_DEATH((AllowOnlyFips(), AgreementKey::FromP256Scalar(scalar)), "P-256");
  EXPECT_DEATH((AllowOnlyFips(), AgreementKey::FromSeed(CipherSuite::kCurve25519, scalar)),
               "X25519");
}

TEST_F(WithoutFipsProviderTest, NothingIsAgreedOn) {
  const AgreementKey key = P256Key();
  EXPECT_DEATH((AllowOnlyFips(), (void)key.Agree(key.public_key()).ok()), "OpenSSL");
}

TEST_F(WithoutFipsProviderTest, NothingIsSigned) {
  const SigningKey key = SigningKey::Generate(CipherSuite::kNistP256);
  EXPECT_DEATH((AllowOnlyFips(), key.Sign(Octets(1))), "OpenSSL signs");
}

TEST(WithFipsProviderTest, TheNistSuiteAgreesSealsAndSigns) {
  if (OSSL_PROVIDER_load(nullptr, "fips") == nullptr) {
    GTEST_SKIP() << "OpenSSL has no FIPS provider here";
  }
  ASSERT_NE(OSSL_PROVIDER_load(nullptr, "base"), nullptr);
  AllowOnlyFips();
  ASSERT_TRUE(IsOffered(CipherSuite::kNistP256));
  const AgreementKey here = P256Key();
  const AgreementKey there =
      AgreementKey::FromSeed(CipherSuite::kNistP256, SecretBytes(Octets(32, 2)));
  const absl::StatusOr<SecretBytes> agreed = here.Agree(there.public_key());
  ASSERT_TRUE(agreed.ok());
  EXPECT_EQ(*agreed, *there.Agree(here.public_key()));
  const SecretBytes key = HkdfSha256(agreed->Reveal(), {}, {}, kAeadKeySize);
  EXPECT_TRUE(OpenOnce(key, {}, SealOnce(key, {}, Octets(5))).ok());
  const SigningKey signer = SigningKey::Generate(CipherSuite::kNistP256);
  EXPECT_TRUE(VerifySignature(CipherSuite::kNistP256, signer.public_key(), Octets(3),
                              signer.Sign(Octets(3)))
                  .ok());
}

}  // namespace
}  // namespace fedtune
