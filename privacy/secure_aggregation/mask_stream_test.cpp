// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_stream.h"

#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/hkdf.h"
#include "tests/support/hex.h"

namespace fedtune {
namespace {

using testing::FromHex;

class MaskStreamTest : public ::testing::TestWithParam<RingBits> {
 protected:
  MaskStreams Masks(uint8_t key, MaskSign sign) const {
    MaskStreams masks(GetParam());
    masks.Add(SecretBytes(Bytes(32, key)), sign);
    return masks;
  }
};

TEST(MaskStreamAnswerTest, GivesTheKnownMask) {
  Digest session;
  std::iota(session.bytes.begin(), session.bytes.end(), uint8_t{0});
  const SecretBytes agreed(
      FromHex("99c2458fa98ceac5bd88316d97e7a14fa2b62bd04e92526704b835b15aef9a6c"));
  // The known answer takes the session id itself for the salt.
  CanonicalWriter info;
  info.Fixed(SpanOf("ffl/v1/mask")).U32(3).U32(7);
  const SecretBytes key = HkdfSha256(agreed.Reveal(), session.bytes, info.bytes(), 32);
  EXPECT_EQ(Bytes(key.Reveal().begin(), key.Reveal().end()),
            FromHex("378d9027b63b1f34119495a09cb5ad2fd23a85826be2f668a8fd48143c38fa53"));
  MaskStreams masks(RingBits::k32);
  masks.Add(key, MaskSign::kAdd);
  std::vector<uint32_t> values(8);
  masks.Apply(0, values);
  EXPECT_THAT(values, ::testing::ElementsAre(2509322402, 1132358958, 3377959241, 1208621614,
                                             3454487065, 240728444, 939114002, 3043744206));
}

TEST_P(MaskStreamTest, StaysInTheRing) {
  std::vector<uint32_t> values(1000);
  Masks(1, MaskSign::kSubtract).Apply(0, values);
  for (const uint32_t value : values) EXPECT_LE(value, RingMask(GetParam()));
}

TEST_P(MaskStreamTest, WhatIsAddedCanBeSubtracted) {
  std::vector<uint32_t> values(10'001, 5);
  const std::vector<uint32_t> before = values;
  Masks(1, MaskSign::kAdd).Apply(0, values);
  EXPECT_NE(values, before);
  Masks(1, MaskSign::kSubtract).Apply(0, values);
  EXPECT_EQ(values, before);
}

TEST_P(MaskStreamTest, EveryPartIsThatOfTheWhole) {
  std::vector<uint32_t> whole(20'000);
  Masks(1, MaskSign::kAdd).Apply(0, whole);
  for (const size_t first : {16u, 4096u, 4112u, 19'984u}) {
    for (const size_t count : {0u, 1u, 15u, 16u}) {
      std::vector<uint32_t> part(count);
      Masks(1, MaskSign::kAdd).Apply(static_cast<int64_t>(first), part);
      EXPECT_EQ(part, std::vector<uint32_t>(whole.begin() + static_cast<long>(first),
                                            whole.begin() + static_cast<long>(first + count)));
    }
  }
}

TEST_P(MaskStreamTest, GoesOnBeyondThirtyTwoBitsOfBlocks) {
  const int64_t far = int64_t{1} << 36;
  std::vector<uint32_t> here(32);
  std::vector<uint32_t> next(16);
  Masks(1, MaskSign::kAdd).Apply(far - 16, here);
  Masks(1, MaskSign::kAdd).Apply(far, next);
  EXPECT_EQ(std::vector<uint32_t>(here.begin() + 16, here.end()), next);
}

TEST_P(MaskStreamTest, PairsOfManyClientsCancel) {
  constexpr int kClients = 7;
  std::vector<uint32_t> sum(333);
  for (int i = 0; i < kClients; ++i) {
    MaskStreams masks(GetParam());
    for (int j = 0; j < kClients; ++j) {
      if (i == j) continue;
      const auto key = static_cast<uint8_t>(std::min(i, j) * kClients + std::max(i, j));
      masks.Add(SecretBytes(Bytes(32, key)), j > i ? MaskSign::kAdd : MaskSign::kSubtract);
    }
    masks.Apply(0, sum);
  }
  EXPECT_EQ(sum, std::vector<uint32_t>(333));
}

TEST_P(MaskStreamTest, PackedElementsAddUp) {
  std::mt19937 random(1);
  std::vector<uint32_t> values(77);
  for (uint32_t& value : values) value = static_cast<uint32_t>(random()) & RingMask(GetParam());
  std::vector<uint8_t> packed(values.size() * BytesPerElement(GetParam()));
  PackRing(GetParam(), values, packed);
  std::vector<uint32_t> sum(values.size(), RingMask(GetParam()));
  AddPacked(GetParam(), packed, sum);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(sum[i], (values[i] - 1) & RingMask(GetParam()));
  }
}

INSTANTIATE_TEST_SUITE_P(Rings, MaskStreamTest,
                         ::testing::Values(RingBits::k16, RingBits::k24, RingBits::k32));

}  // namespace
}  // namespace fedtune
