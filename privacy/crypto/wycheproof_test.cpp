// SPDX-License-Identifier: Apache-2.0

// Project Wycheproof's vectors for everything in this folder that has some. How
// many of a file apply was counted apart, from the file, for commit dac1dd4.

#include "tests/support/wycheproof.h"

#include <openssl/bn.h>
#include <openssl/ec.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/agreement_key.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/signing_key.h"

namespace fedtune {
namespace {

using nlohmann::json;
using testing::ForEachWycheproofTest;
using testing::FromHex;
using testing::HexOf;
using Octets = std::vector<uint8_t>;

class WycheproofTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(testing::WycheproofDirectory())) {
      GTEST_SKIP() << testing::WycheproofDirectory() << " is not there";
    }
  }
};

std::string Of(const json& test) {
  return test.at("tcId").dump() + " " + test.at("comment").get<std::string>();
}

Octets Plain(const SecretBytes& secret) { return {secret.Reveal().begin(), secret.Reveal().end()}; }

TEST_F(WycheproofTest, X25519) {
  int zeros = 0;
  ForEachWycheproofTest("x25519_test.json", [&](const json&, const json& test) {
    const AgreementKey key =
        AgreementKey::FromSeed(CipherSuite::kCurve25519, SecretBytes(HexOf(test, "private")));
    const absl::StatusOr<SecretBytes> agreed = key.Agree(HexOf(test, "public"));
    // Those with a result of zeros may be refused, and are.
    const Octets expected = HexOf(test, "shared");
    if (expected == Octets(32)) {
      ++zeros;
      EXPECT_FALSE(agreed.ok()) << Of(test);
    } else {
      ASSERT_TRUE(agreed.ok()) << Of(test);
      EXPECT_EQ(Plain(*agreed), expected) << Of(test);
    }
  });
  EXPECT_EQ(zeros, 31);
}

// A private key of the file, which has signs and leading zeros, in 32 bytes.
SecretBytes Scalar(const json& test) {
  Octets scalar = HexOf(test, "private");
  while (scalar.size() > 32 && scalar.front() == 0) scalar.erase(scalar.begin());
  return SecretBytes(std::move(scalar));
}

TEST_F(WycheproofTest, EcdhOnP256) {
  // Our public keys are bare points: of the file's encodings those count that
  // have the one standard header.
  const Octets header = FromHex("3059301306072a8648ce3d020106082a8648ce3d030107034200");
  int points = 0;
  ForEachWycheproofTest("ecdh_secp256r1_test.json", [&](const json&, const json& test) {
    const Octets encoded = HexOf(test, "public");
    if (encoded.size() != header.size() + 65 ||
        !std::equal(header.begin(), header.end(), encoded.begin())) {
      return;
    }
    ++points;
    const AgreementKey key = AgreementKey::FromP256Scalar(Scalar(test));
    const absl::StatusOr<SecretBytes> agreed = key.Agree(std::span(encoded).subspan(header.size()));
    ASSERT_EQ(agreed.ok(), test.at("result") == "valid") << Of(test);
    if (!agreed.ok()) return;
    EXPECT_EQ(Plain(*agreed), HexOf(test, "shared")) << Of(test);
  });
  EXPECT_EQ(points, 349);
}

TEST_F(WycheproofTest, AesGcm) {
  int fitting = 0;
  ForEachWycheproofTest("aes_gcm_test.json", [&](const json& group, const json& test) {
    if (group.at("keySize") != 256 || group.at("ivSize") != 96 || group.at("tagSize") != 128) {
      return;
    }
    ++fitting;
    const SecretBytes key(HexOf(test, "key"));
    AeadNonce nonce;
    std::ranges::copy(HexOf(test, "iv"), nonce.begin());
    Octets sealed = HexOf(test, "ct");
    const Octets tag = HexOf(test, "tag");
    sealed.insert(sealed.end(), tag.begin(), tag.end());
    const absl::StatusOr<SecretBytes> opened = Open(key, nonce, HexOf(test, "aad"), sealed);
    ASSERT_EQ(opened.ok(), test.at("result") == "valid") << Of(test);
    if (!opened.ok()) return;
    EXPECT_EQ(Plain(*opened), HexOf(test, "msg")) << Of(test);
    EXPECT_EQ(Seal(key, nonce, HexOf(test, "aad"), HexOf(test, "msg")), sealed) << Of(test);
  });
  EXPECT_EQ(fitting, 66);
}

TEST_F(WycheproofTest, Hkdf) {
  int refused = 0;
  ForEachWycheproofTest("hkdf_sha256_test.json", [&](const json&, const json& test) {
    if (test.at("result") != "valid") {  // More than 8160 bytes: the caller's mistake.
      ++refused;
      EXPECT_GT(test.at("size").get<size_t>(), 8160u) << Of(test);
      EXPECT_DEATH(HkdfSha256(HexOf(test, "ikm"), HexOf(test, "salt"), HexOf(test, "info"),
                              test.at("size").get<size_t>()),
                   "at most 8160");
      return;
    }
    EXPECT_EQ(Plain(HkdfSha256(HexOf(test, "ikm"), HexOf(test, "salt"), HexOf(test, "info"),
                               test.at("size").get<size_t>())),
              HexOf(test, "okm"))
        << Of(test);
  });
  EXPECT_EQ(refused, 3);
}

TEST_F(WycheproofTest, Ed25519) {
  ForEachWycheproofTest("ed25519_test.json", [](const json& group, const json& test) {
    EXPECT_EQ(VerifySignature(CipherSuite::kCurve25519, HexOf(group.at("publicKey"), "pk"),
                              HexOf(test, "msg"), HexOf(test, "sig"))
                  .ok(),
              test.at("result") == "valid")
        << Of(test);
  });
}

// The 64 bytes of an ASN.1 signature; none if ours cannot say it.
std::optional<Octets> RawSignature(const Octets& der) {
  const unsigned char* next = der.data();
  const OpensslPtr<ECDSA_SIG> parts(d2i_ECDSA_SIG(nullptr, &next, std::ssize(der)));
  if (parts == nullptr || next != der.data() + der.size()) return std::nullopt;
  Octets again(static_cast<size_t>(i2d_ECDSA_SIG(parts.get(), nullptr)));
  unsigned char* out = again.data();
  i2d_ECDSA_SIG(parts.get(), &out);
  const BIGNUM* r = ECDSA_SIG_get0_r(parts.get());
  const BIGNUM* s = ECDSA_SIG_get0_s(parts.get());
  Octets raw(64);
  if (again != der || BN_is_negative(r) == 1 || BN_is_negative(s) == 1 ||
      BN_bn2binpad(r, raw.data(), 32) < 0 || BN_bn2binpad(s, raw.data() + 32, 32) < 0) {
    return std::nullopt;
  }
  return raw;
}

TEST_F(WycheproofTest, EcdsaOnP256) {
  int expressible = 0;
  ForEachWycheproofTest("ecdsa_secp256r1_sha256_test.json", [&](const json& group,
                                                                const json& test) {
    const std::optional<Octets> raw = RawSignature(HexOf(test, "sig"));
    if (!raw.has_value()) {
      EXPECT_NE(test.at("result"), "valid") << Of(test);
      return;
    }
    ++expressible;
    EXPECT_EQ(VerifySignature(CipherSuite::kNistP256, HexOf(group.at("publicKey"), "uncompressed"),
                              HexOf(test, "msg"), *raw)
                  .ok(),
              test.at("result") == "valid")
        << Of(test);
  });
  EXPECT_GT(expressible, 200);
}

}  // namespace
}  // namespace fedtune
