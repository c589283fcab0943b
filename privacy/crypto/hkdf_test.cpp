// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/hkdf.h"

#include "gtest/gtest.h"
#include "tests/support/hex.h"

namespace fedtune {
namespace {

using testing::FromHex;
using Octets = std::vector<uint8_t>;

Octets Plain(const SecretBytes& secret) { return {secret.Reveal().begin(), secret.Reveal().end()}; }

// The bytes from `first` to `last`.
Octets Range(int first, int last) {
  Octets bytes;
  for (int byte = first; byte <= last; ++byte) bytes.push_back(static_cast<uint8_t>(byte));
  return bytes;
}

TEST(HkdfTest, GivesTheAnswersOfRfc5869) {
  EXPECT_EQ(
      Plain(HkdfSha256(Octets(22, 0x0b), FromHex("000102030405060708090a0b0c"),
                       FromHex("f0f1f2f3f4f5f6f7f8f9"), 42)),
      FromHex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b8871"
              "85865"));
  EXPECT_EQ(
      Plain(HkdfSha256(Octets(22, 0x0b), {}, {}, 42)),
      FromHex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61"
              "a96c8"));
  EXPECT_EQ(
      Plain(HkdfSha256(Range(0x00, 0x4f), Range(0x60, 0xaf), Range(0xb0, 0xff), 82)),
      FromHex("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827"
              "271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f343"
              "4f1d87"));
}

TEST(HkdfTest, EndsTheProcessWhenMoreIsAskedForThanThereIs) {
  EXPECT_EQ(HkdfSha256(Octets(32), {}, {}, 8160).size(), 8160u);
  EXPECT_DEATH(HkdfSha256(Octets(32), {}, {}, 8161), "at most 8160 bytes");
}

TEST(HkdfTest, OtherSecretsSaltsAndUsesGiveOtherBytes) {
  const Octets a(32, 1);
  const Octets b(32, 2);
  const Octets derived = Plain(HkdfSha256(a, a, a, 32));
  EXPECT_NE(derived, Plain(HkdfSha256(b, a, a, 32)));
  EXPECT_NE(derived, Plain(HkdfSha256(a, b, a, 32)));
  EXPECT_NE(derived, Plain(HkdfSha256(a, a, b, 32)));
}

}  // namespace
}  // namespace fedtune
