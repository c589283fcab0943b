// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/shamir.h"

#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/secure_aggregation/field_61.h"
#include "tests/support/hex.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::FromHex;
using testing::HasCode;
using testing::IsOk;
using Octets = std::vector<uint8_t>;

Octets Plain(const SecretBytes& secret) { return {secret.Reveal().begin(), secret.Reveal().end()}; }

SecretBytes Random(uint32_t seed) {
  std::mt19937 random(seed);
  Octets bytes(kSharedSecretSize);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return SecretBytes(bytes);
}

absl::StatusOr<SecretBytes> Combine(const std::vector<SecretBytes>& shares,
                                    const std::vector<uint32_t>& points) {
  std::vector<const SecretBytes*> chosen;
  chosen.reserve(points.size());
  for (const uint32_t point : points) chosen.push_back(&shares[point - 1]);
  absl::StatusOr<SecretCombiner> combiner = SecretCombiner::Create(points);
  if (!combiner.ok()) return combiner.status();
  return combiner->Combine(chosen);
}

TEST(ShamirTest, GivesTheKnownShares) {
  Octets secret(kSharedSecretSize);
  std::iota(secret.begin(), secret.end(), uint8_t{0});
  const std::vector<SecretBytes> shares =
      SplitSecretWith(SecretBytes(secret), 3, 5, [](size_t limb, int power) {
        return 1'000'003 * (limb + 1) + 7919 * static_cast<uint64_t>(power);
      });
  EXPECT_EQ(Plain(shares[0]),
            FromHex("53e220030405060049e6cda0b0c000006cf86a101112030026c0db7181910100850eb51d1e1f"
                    "0000"));
  EXPECT_EQ(Plain(shares[4]),
            FromHex("336ad204040506007dad2aa4b0c00000f4fe72151112030002068f7881910100b59313261e1f"
                    "0000"));
  EXPECT_EQ(Plain(*Combine(shares, {1, 3, 5})), secret);
}

TEST(ShamirTest, AnyThresholdOfSharesGiveTheSecret) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const int count = 1 + static_cast<int>(random() % 12);
    const int threshold = 1 + static_cast<int>(random() % static_cast<uint32_t>(count));
    const SecretBytes secret = Random(seed);
    const auto shares = SplitSecret(secret, threshold, count, Random(seed + 1));
    std::vector<uint32_t> points(static_cast<size_t>(count));
    std::iota(points.begin(), points.end(), 1u);
    std::shuffle(points.begin(), points.end(), random);
    points.resize(static_cast<size_t>(threshold));
    const auto rebuilt = Combine(shares, points);
    ASSERT_THAT(rebuilt, IsOk());
    EXPECT_EQ(*rebuilt, secret);
  }
}

TEST(ShamirTest, FewerSharesGiveSomethingElse) {
  const SecretBytes secret = Random(1);
  const auto shares = SplitSecret(secret, 3, 5, Random(2));
  const auto rebuilt = Combine(shares, {1, 2});
  EXPECT_TRUE(!rebuilt.ok() || !(*rebuilt == secret));
}

TEST(ShamirTest, TheSameSeedGivesTheSameShares) {
  EXPECT_EQ(Plain(SplitSecret(Random(1), 3, 5, Random(2))[4]),
            Plain(SplitSecret(Random(1), 3, 5, Random(2))[4]));
  EXPECT_NE(Plain(SplitSecret(Random(1), 3, 5, Random(2))[4]),
            Plain(SplitSecret(Random(1), 3, 5, Random(3))[4]));
}

TEST(ShamirTest, RefusesPointsThatAreNoneOrTwice) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(SecretCombiner::Create({}), refused);
  EXPECT_THAT(SecretCombiner::Create({0, 1}), refused);
  EXPECT_THAT(SecretCombiner::Create({2, 2}), refused);
}

TEST(ShamirTest, RefusesMalformedShares) {
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  auto shares = SplitSecret(Random(1), 2, 2, Random(2));
  shares[0] = SecretBytes(Octets(kShareSize - 1));
  EXPECT_THAT(Combine(shares, {1, 2}), refused);
  shares[0] = SecretBytes(Octets(kShareSize, 0xff));
  EXPECT_THAT(Combine(shares, {1, 2}), refused);
}

TEST(ShamirTest, RefusesAnotherNumberOfShares) {
  const auto shares = SplitSecret(Random(1), 2, 2, Random(2));
  const std::vector<const SecretBytes*> one = {shares.data()};
  EXPECT_THAT(SecretCombiner::Create({1, 2})->Combine(one),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(Field61Test, IsAField) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t a = random() % kField61;
    const uint64_t b = random() % kField61;
    EXPECT_EQ(Add61(Subtract61(a, b), b), a);
    EXPECT_EQ(Multiply61(a, b),
              static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b % kField61));
    if (a == 0) continue;
    EXPECT_EQ(Multiply61(a, Inverse61(a)), 1u);
  }
  EXPECT_EQ(Multiply61(kField61 - 1, kField61 - 1), 1u);
  EXPECT_EQ(Add61(kField61 - 1, 1), 0u);
}

}  // namespace
}  // namespace fedtune
