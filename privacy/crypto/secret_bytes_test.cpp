// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/secret_bytes.h"

#include <type_traits>

#include "gtest/gtest.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);

SecretBytes Secret(std::vector<uint8_t> bytes) { return SecretBytes(std::move(bytes)); }

TEST(SecretBytesTest, ComparesByContent) {
  EXPECT_TRUE(Secret({1, 2}) == Secret({1, 2}));
  EXPECT_FALSE(Secret({1, 2}) == Secret({1, 3}));
  EXPECT_FALSE(Secret({1, 2}) == Secret({1, 2, 3}));
  EXPECT_TRUE(Secret({}) == Secret({}));
}

TEST(SecretBytesTest, MovesLeaveNothingBehind) {
  SecretBytes first = Secret({1, 2, 3});
  const SecretBytes& left = first;
  const SecretBytes second = std::move(first);
  EXPECT_EQ(left.size(), 0u);
  EXPECT_EQ(second.size(), 3u);
}

TEST(SecretBytesTest, AssignmentTakesTheOtherSecret) {
  SecretBytes secret = Secret({1, 2, 3});
  secret = Secret({4});
  EXPECT_TRUE(secret == Secret({4}));
}

TEST(RandomBytesTest, AreAsManyAsAskedForAndDiffer) {
  EXPECT_EQ(RandomBytes(0).size(), 0u);
  EXPECT_EQ(RandomBytes(16).size(), 16u);
  EXPECT_NE(RandomBytes(16), RandomBytes(16));
}

}  // namespace
}  // namespace fedtune
