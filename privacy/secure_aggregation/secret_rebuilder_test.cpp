// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/secret_rebuilder.h"

#include <bit>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using Numbers = std::set<uint32_t>;

// Shares of one secret; giver n has the one at point n.
class SecretRebuilderTest : public ::testing::Test {
 protected:
  void Split(int threshold, int count, uint8_t secret = 7) {
    secret_ = std::vector<uint8_t>(32, secret);
    shares_ = SplitSecret(Secret(), threshold, count, SecretBytes(std::vector<uint8_t>(32, 1)));
    threshold_ = threshold;
  }

  SecretBytes Secret() const { return SecretBytes(secret_); }

  // Adds to one limb of the share at a point.
  void Add(uint32_t point, uint64_t difference) {
    const auto bytes = shares_[point - 1].Reveal();
    std::vector<uint8_t> changed(bytes.begin(), bytes.end());
    uint64_t limb = 0;
    std::memcpy(&limb, changed.data(), sizeof(limb));
    limb = (limb + difference) % ((uint64_t{1} << 61) - 1);
    std::memcpy(changed.data(), &limb, sizeof(limb));
    shares_[point - 1] = SecretBytes(std::move(changed));
  }

  // Wrong shares where the set has a bit; who gives them.
  Numbers LieAt(uint32_t set) {
    Numbers liars;
    std::mt19937_64 random(set);
    for (uint32_t point = 1; point <= shares_.size(); ++point) {
      if ((set >> (point - 1) & 1) == 0) continue;
      Add(point, 1 + random() % 1'000'000'007);
      liars.insert(point);
    }
    return liars;
  }

  absl::StatusOr<SecretBytes> Rebuild(SecretRebuilder& rebuilder,
                                      const std::set<uint32_t>& without = {}) {
    std::vector<GivenShare> given;
    for (uint32_t point = 1; point <= shares_.size(); ++point) {
      if (without.contains(point)) continue;
      given.push_back({.giver = point, .point = point, .share = &shares_[point - 1]});
    }
    return rebuilder.Rebuild(given, [this](const SecretBytes& tried) { return tried == Secret(); });
  }

  void ExpectLiars(const Numbers& liars) {
    SecretRebuilder rebuilder(threshold_);
    const absl::StatusOr<SecretBytes> secret = Rebuild(rebuilder);
    ASSERT_THAT(secret, IsOk());
    EXPECT_TRUE(*secret == Secret());
    EXPECT_EQ(rebuilder.liars(), liars);
  }

  std::vector<uint8_t> secret_;
  std::vector<SecretBytes> shares_;
  int threshold_ = 0;
};

TEST_F(SecretRebuilderTest, AnyThresholdOfThem) {
  Split(3, 5);
  for (const Numbers& without : {Numbers{}, Numbers{1}, Numbers{1, 5}, Numbers{2, 3}}) {
    SecretRebuilder rebuilder(3);
    EXPECT_THAT(Rebuild(rebuilder, without), IsOk());
    EXPECT_EQ(rebuilder.liars(), Numbers());
  }
}

TEST_F(SecretRebuilderTest, OneLessIsTooFew) {
  Split(3, 5);
  SecretRebuilder rebuilder(3);
  EXPECT_THAT(Rebuild(rebuilder, {1, 2, 3}), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SecretRebuilderTest, EverySetOfLiarsUpToTenGivers) {
  for (uint32_t count = 1; count <= 10; ++count) {
    const uint32_t threshold = 2 * count / 3 + 1;
    for (uint32_t set = 0; set < 1u << count; ++set) {
      if (static_cast<uint32_t>(std::popcount(set)) > count - threshold) continue;
      SCOPED_TRACE(std::to_string(count) + " " + std::to_string(set));
      Split(static_cast<int>(threshold), static_cast<int>(count));
      ExpectLiars(LieAt(set));
    }
  }
}

// The weights of points 1 to 4 are 4, -6, 4 and -1: these two errors cancel, and
// the four give the right secret.
TEST_F(SecretRebuilderTest, TwoLiarsTogetherDoNotMakeOthersLookLikeLiars) {
  Split(4, 7);
  Add(1, 3);
  Add(2, 2);
  ExpectLiars({1, 2});
}

TEST_F(SecretRebuilderTest, AFewLiarsAmongMany) {
  Split(134, 200);
  for (const uint32_t liar : {2u, 71u, 200u}) Add(liar, 5);
  ExpectLiars({2, 71, 200});
}

TEST_F(SecretRebuilderTest, TooManyLiars) {
  Split(4, 6);
  for (const uint32_t liar : {1u, 2u, 6u}) Add(liar, uint64_t{1} << (7 * liar));
  SecretRebuilder rebuilder(4);
  EXPECT_THAT(Rebuild(rebuilder), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(rebuilder.liars(), Numbers());
}

TEST_F(SecretRebuilderTest, TellsTheLiarsOfEachSecret) {
  SecretRebuilder rebuilder(3);
  Split(3, 5);
  Add(4, 1);
  ASSERT_THAT(Rebuild(rebuilder), IsOk());
  Split(3, 5, 8);
  Add(2, 1);
  ASSERT_THAT(Rebuild(rebuilder), IsOk());
  EXPECT_EQ(rebuilder.liars(), Numbers{2});
}

TEST_F(SecretRebuilderTest, MalformedSharesAreLies) {
  Split(3, 5);
  shares_[0] = SecretBytes(std::vector<uint8_t>(40, 0xff));  // Out of the field.
  shares_[1] = SecretBytes(std::vector<uint8_t>(39));
  ExpectLiars({1, 2});
}

}  // namespace
}  // namespace fedtune
