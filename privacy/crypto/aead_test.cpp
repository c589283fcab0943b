// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/aead.h"

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

const Octets kText = {1, 2, 3, 4, 5};
const Octets kContext = {9, 9};

SecretBytes Key(uint8_t byte) { return SecretBytes(Octets(kAeadKeySize, byte)); }

// McGrew and Viega, test case 14.
TEST(AeadTest, SealsTheKnownAnswer) {
  EXPECT_EQ(SealOnce(Key(0), {}, Octets(16)),
            FromHex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"));
}

TEST(AeadTest, OpensWhatItSealed) {
  for (const Octets& text : {kText, Octets(), Octets(100'000, 7)}) {
    const absl::StatusOr<SecretBytes> opened =
        OpenOnce(Key(1), kContext, SealOnce(Key(1), kContext, text));
    ASSERT_THAT(opened, IsOk());
    EXPECT_EQ(Octets(opened->Reveal().begin(), opened->Reveal().end()), text);
  }
}

TEST(AeadTest, RefusesEveryFlippedBit) {
  const Octets sealed = SealOnce(Key(1), kContext, kText);
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    Octets changed = sealed;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(OpenOnce(Key(1), kContext, changed), HasCode(absl::StatusCode::kUnauthenticated));
  }
}

TEST(AeadTest, RefusesAnotherKeyNonceOrContext) {
  const Octets sealed = SealOnce(Key(1), kContext, kText);
  const auto refused = HasCode(absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(OpenOnce(Key(2), kContext, sealed), refused);
  EXPECT_THAT(OpenOnce(Key(1), Octets{9}, sealed), refused);
  EXPECT_THAT(Open(Key(1), AeadNonce{1}, kContext, sealed), refused);
}

TEST(AeadTest, RefusesWhatIsShorterThanATag) {
  EXPECT_THAT(OpenOnce(Key(1), {}, Octets(kAeadTagSize - 1)),
              HasCode(absl::StatusCode::kUnauthenticated));
}

}  // namespace
}  // namespace fedtune
