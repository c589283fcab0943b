// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/signing_key.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
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

std::string FromHexText(std::string_view hex) {
  const Octets octets = FromHex(hex);
  return {octets.begin(), octets.end()};
}

const Octets kMessage = {'h', 'e', 'l', 'l', 'o'};

class SigningKeyTest : public ::testing::TestWithParam<CipherSuite> {
 protected:
  const SigningKey key_ = SigningKey::Generate(GetParam());
};

TEST_P(SigningKeyTest, SignsInSixtyFourBytesThatVerify) {
  // Numbers of ECDSA with leading zeros come up once in 128 signatures.
  for (int i = 0; i < 300; ++i) {
    const Octets signature = key_.Sign(kMessage);
    ASSERT_EQ(signature.size(), 64u);
    ASSERT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, signature), IsOk());
  }
}

TEST_P(SigningKeyTest, RefusesAnotherMessageKeyOrSignature) {
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  const Octets signature = key_.Sign(kMessage);
  EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), Octets{'h'}, signature), refused);
  const SigningKey other = SigningKey::Generate(GetParam());
  EXPECT_THAT(VerifySignature(GetParam(), other.public_key(), kMessage, signature), refused);
  for (size_t bit = 0; bit < 8 * signature.size(); bit += 7) {
    Octets changed = signature;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, changed), refused);
  }
}

TEST_P(SigningKeyTest, RefusesMalformedKeysAndSignatures) {
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  const Octets signature = key_.Sign(kMessage);
  EXPECT_THAT(VerifySignature(GetParam(), {}, kMessage, signature), refused);
  EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, {}), refused);
  EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, Octets(65)), refused);
  EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, Octets(64)), refused);
}

TEST_P(SigningKeyTest, GoesThroughPem) {
  const absl::StatusOr<SigningKey> again = SigningKey::ParsePem(key_.ToPem().RevealText());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->suite(), GetParam());
  EXPECT_EQ(again->public_key(), key_.public_key());
  EXPECT_THAT(VerifySignature(GetParam(), key_.public_key(), kMessage, again->Sign(kMessage)),
              IsOk());
}

INSTANTIATE_TEST_SUITE_P(Suites, SigningKeyTest,
                         ::testing::Values(CipherSuite::kCurve25519, CipherSuite::kNistP256));

TEST(SigningKeyPemTest, RefusesWhatIsNoSigningKey) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(SigningKey::ParsePem("a letter"), refused);
  EXPECT_THAT(SigningKey::ParsePem(std::string(100'000, 'a')), refused);
  // An X25519 key, which cannot sign.
  EXPECT_THAT(SigningKey::ParsePem("-----BEGIN PRIVATE KEY-----\n"
                                   "MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6Udu"
                                   "SoX\n"
                                   "-----END PRIVATE KEY-----\n"),
              refused);
}

// Made with: openssl ecparam -name prime256v1 -genkey -noout -conv_form compressed.
// A key of no use.
constexpr char kCompressedPem[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIMQsMmvzD0y3Oo1TbWIH0lkM5vVykiO6WtlWuRcl3oVtoAoGCCqGSM49\n"
    "AwEHoUQDQgAEoBMwqUs5r5NtT4Ec3qMjN4/JJhq5DsO0r4oeSDCI/AEYyD3356Sm\n"
    "BD7RanCVONDHoYal3jRmL4dBP2zk1N/vsA==\n"
    "-----END EC PRIVATE KEY-----\n";

TEST(SigningKeyPemTest, ReadsAKeyWhosePublicPartIsCompressed) {
  const absl::StatusOr<SigningKey> key = SigningKey::ParsePem(kCompressedPem);
  ASSERT_THAT(key, IsOk());
  EXPECT_THAT(
      VerifySignature(CipherSuite::kNistP256, key->public_key(), kMessage, key->Sign(kMessage)),
      IsOk());
}

// The key above with another private scalar, of at most 40 bytes.
std::string KeyWithScalar(const std::string& scalar) {
  const std::string rest = FromHexText(
      "a00a06082a8648ce3d030107a14403420004a01330a94b39af936d4f811cdea323378fc9261ab90ec3b4af8a1e48"
      "3088fc0118c83df7e7a4a6043ed16a709538d0c7a186a5de34662f87413f6ce4d4dfefb0");
  const std::string body =
      FromHexText("02010104") + static_cast<char>(scalar.size()) + scalar + rest;
  const std::string der = FromHexText("30") + static_cast<char>(body.size()) + body;
  return "-----BEGIN EC PRIVATE KEY-----\n" + absl::Base64Escape(der) +
         "\n-----END EC PRIVATE KEY-----\n";
}

TEST(SigningKeyPemTest, RefusesScalarsThatAreNotThoseOfTheirPublicKey) {
  const std::string right =
      FromHexText("c42c326bf30f4cb73a8d536d6207d2590ce6f5729223ba5ad956b91725de856d");
  EXPECT_THAT(SigningKey::ParsePem(KeyWithScalar(right)), IsOk());
  const std::string of_another =
      FromHexText("c42c326bf30f4cb73a8d536d6207d2590ce6f5729223ba5ad956b91725de856e");
  const std::string order =
      FromHexText("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  for (const std::string& wrong :
       {of_another, order, std::string(32, '\0'), std::string(40, '\xff')}) {
    EXPECT_THAT(SigningKey::ParsePem(KeyWithScalar(wrong)),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

// RFC 8032 section 7.1, test 2.
TEST(Ed25519Test, VerifiesTheAnswerOfRfc8032) {
  EXPECT_THAT(
      VerifySignature(
          CipherSuite::kCurve25519,
          FromHex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
          FromHex("72"),
          FromHex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
                  "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")),
      IsOk());
}

}  // namespace
}  // namespace fedtune
