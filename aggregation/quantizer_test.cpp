// SPDX-License-Identifier: Apache-2.0

#include "aggregation/quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/quantizer_steps.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr RingBits kRings[] = {RingBits::k16, RingBits::k24, RingBits::k32};

MaskStreams Rounding(uint8_t key) {
  MaskStreams rounding(RingBits::k32);
  rounding.Add(SecretBytes(std::vector<uint8_t>(32, key)), MaskSign::kAdd);
  return rounding;
}

std::vector<float> Noise(size_t size, float deviation, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> value(0, deviation);
  std::vector<float> noise(size);
  for (float& v : noise) v = value(random);
  return noise;
}

std::vector<uint32_t> Quantized(const Quantizer& quantizer, std::span<const float> values,
                                int64_t weight = 1, uint8_t key = 7) {
  std::vector<uint32_t> elements(values.size());
  quantizer.Quantize(Rounding(key), weight, 0, values, elements);
  return elements;
}

TEST(LargestPrecisionTest, IsTheProtocolsTable) {
  EXPECT_EQ(LargestPrecision(RingBits::k32, 200), 24);
  EXPECT_EQ(LargestPrecision(RingBits::k32, 1'000), 22);
  EXPECT_EQ(LargestPrecision(RingBits::k32, 100'000), 15);
  EXPECT_EQ(LargestPrecision(RingBits::k24, 200), 16);
  EXPECT_EQ(LargestPrecision(RingBits::k16, 50), 10);
  EXPECT_EQ(LargestPrecision(RingBits::k16, 200), 8);
}

TEST(LargestPrecisionTest, KeepsEverySumInTheRingAndOneBitMoreWouldNot) {
  for (const RingBits ring : kRings) {
    for (int64_t cohort = 4; cohort < 5'000; ++cohort) {
      const int bits = LargestPrecision(ring, cohort);
      const int64_t half = int64_t{1} << (static_cast<int>(ring) - 1);
      ASSERT_LT(cohort * ((int64_t{1} << (bits - 1)) - 1), half);
      ASSERT_GE(cohort * ((int64_t{1} << bits) - 1), half) << cohort;
    }
  }
}

TEST(LargestPrecisionTest, LeavesRoomForNoise) {
  EXPECT_EQ(LargestPrecision(RingBits::k16, 50, 32'767 - 50 * 511), 10);
  EXPECT_EQ(LargestPrecision(RingBits::k16, 50, 32'767 - 50 * 511 + 1), 9);
  EXPECT_EQ(LargestPrecision(RingBits::k16, 50, 32'767), 0);
}

TEST(QuantizerTest, RefusesWhatLeavesTooFewBitsWithTheNumbers) {
  const auto refused = Quantizer::Create({.ring = RingBits::k16, .max_cohort = 300});
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(refused.status()),
              HasSubstr("300 clients in a ring of 16 bits leave 7 bits for a value, 8 are needed"));
}

TEST(QuantizerTest, RefusesAClipOrWeightThatIsNone) {
  for (const double clip : {0.0, -1.0, std::nan(""), 1e300, 1e-300}) {
    EXPECT_THAT(Quantizer::Create({.max_cohort = 5, .clip = clip}),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(Quantizer::Create({.max_cohort = 5, .max_weight = 0}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(QuantizerTest, IsOffByLessThanOneStep) {
  for (const RingBits ring : kRings) {
    const auto quantizer = Quantizer::Create({.ring = ring, .max_cohort = 7, .clip = 0.5});
    const std::vector<float> values = Noise(10'000, 0.1f, 1);
    std::vector<float> back(values.size());
    ASSERT_THAT(quantizer->Mean(Quantized(*quantizer, values), 1, 1, back), IsOk());
    const double step = testing::MeanStep(quantizer->settings(), 1);
    for (size_t i = 0; i < values.size(); ++i) {
      const float clipped = std::clamp(values[i], -0.5f, 0.5f);
      ASSERT_NEAR(back[i], clipped, step + 0x1p-22 * std::abs(clipped));
    }
  }
}

TEST(QuantizerTest, IsRightOnAverage) {
  const auto quantizer =
      Quantizer::Create({.ring = RingBits::k16, .max_cohort = 100, .clip = 1, .max_weight = 10});
  constexpr size_t kDraws = 1 << 20;
  for (const float value : {0.0371f, -0.0371f, 0.5f, 1e-4f, -1e-4f}) {
    const std::vector<uint32_t> drawn = Quantized(*quantizer, std::vector<float>(kDraws, value), 3);
    double sum = 0;
    for (const uint32_t element : drawn) sum += static_cast<int16_t>(element);
    // Five deviations of a mean of draws that vary by half a step at most: a
    // false alarm in one of a million seeds, and the seed is fixed.
    const double wanted =
        static_cast<double>(value) * 0.3 * testing::LargestStep(quantizer->settings());
    EXPECT_NEAR(sum / kDraws, wanted, 5 * 0.5 / std::sqrt(kDraws) + 0x1p-17);
  }
}

TEST(QuantizerTest, CutsAtTheClip) {
  const auto quantizer = Quantizer::Create({.max_cohort = 3, .clip = 0.25});
  const float values[] = {0.25f, -0.25f, 1e30f, -1e30f, std::numeric_limits<float>::max()};
  const auto largest = static_cast<uint32_t>(testing::LargestStep(quantizer->settings()));
  EXPECT_THAT(Quantized(*quantizer, values),
              ::testing::ElementsAre(largest, -largest, largest, -largest, largest));
}

TEST(QuantizerTest, GivesTheSameBytesInWhateverPieces) {
  const auto quantizer =
      Quantizer::Create({.ring = RingBits::k24, .max_cohort = 20, .max_weight = 9});
  const std::vector<float> values = Noise(20'011, 0.3f, 4);
  const std::vector<uint32_t> whole = Quantized(*quantizer, values, 4);
  std::mt19937_64 random(5);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const size_t first = random() % values.size();
    const size_t count = 1 + random() % (values.size() - first);
    std::vector<uint32_t> piece(count);
    quantizer->Quantize(Rounding(7), 4, static_cast<int64_t>(first),
                        std::span(values).subspan(first, count), piece);
    ASSERT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<int64_t>(first)))
        << first << " " << count;
  }
}

TEST(QuantizerTest, AnotherKeyRoundsOtherwise) {
  const auto quantizer = Quantizer::Create({.ring = RingBits::k16, .max_cohort = 20});
  const std::vector<float> values = Noise(1'000, 0.3f, 4);
  EXPECT_EQ(Quantized(*quantizer, values, 1, 1), Quantized(*quantizer, values, 1, 1));
  EXPECT_NE(Quantized(*quantizer, values, 1, 1), Quantized(*quantizer, values, 1, 2));
}

TEST(QuantizerTest, AllKernelsGiveTheSameBytes) {
  std::mt19937_64 random(6);
  std::vector<uint32_t> words(1 << 15);
  for (uint32_t& word : words) word = static_cast<uint32_t>(random());
  std::vector<float> values = Noise(1 << 16, 0.3f, 8);
  for (size_t i = 0; i < values.size(); i += 5) values[i] *= 1e-6f;
  const RoundingRule rule = {
      .clip = 0.8f, .factor = 0x1p28f / 0.8f, .largest = (1 << 28) - 1, .ring_mask = ~0u};
  std::vector<uint32_t> portable(values.size());
  std::vector<uint32_t> other(values.size());
  QuantizeKernels().front().kernel(rule, values, words.data(), portable.data());
  for (const NamedQuantizeKernel& kernel : QuantizeKernels()) {
    kernel.kernel(rule, values, words.data(), other.data());
    EXPECT_EQ(other, portable) << kernel.name;
  }
}

// On any machine. Computed apart from this code, in fp32, with the keystream that
//   openssl enc -aes-256-ctr -K 0707...07 -iv 0
// makes of zeros.
TEST(QuantizerTest, GivesTheseBytes) {
  const auto quantizer =
      Quantizer::Create({.ring = RingBits::k32, .max_cohort = 200, .clip = 1, .max_weight = 1000});
  std::vector<float> values(40);
  for (size_t i = 0; i < values.size(); ++i) values[i] = (static_cast<float>(i) - 20) * 0.01f;
  const std::vector<uint32_t> elements = Quantized(*quantizer, values, 77);
  const std::vector<int32_t> integers(elements.begin(), elements.end());
  EXPECT_THAT(integers,
              ::testing::ElementsAre(-129184, -122725, -116266, -109807, -103348, -96889, -90429,
                                     -83970, -77511, -71052, -64592, -58133, -51674, -45215, -38755,
                                     -32297, -25837, -19378, -12919, -6459, 0, 6459, 12918, 19378,
                                     25837, 32296, 38755, 45214, 51673, 58133, 64592, 71052, 77510,
                                     83970, 90429, 96888, 103348, 109806, 116266, 122726));
}

TEST(QuantizerTest, RefusesASumThatItsClientsCannotHave) {
  const auto quantizer = Quantizer::Create({.ring = RingBits::k16, .max_cohort = 50});
  const uint32_t sums[] = {2 * 511, 2 * 511 + 1};
  float mean[2];
  EXPECT_THAT(quantizer->Mean(std::span(sums).first(1), 2, 2, std::span(mean).first(1)), IsOk());
  EXPECT_THAT(quantizer->Mean(sums, 2, 2, mean), HasCode(absl::StatusCode::kOutOfRange));
}

// A liar that takes the others' weights away from the sum of weights would scale their
// values up.
TEST(QuantizerTest, RefusesASumThatTheWeightsOfItsClientsCannotHave) {
  const auto quantizer =
      Quantizer::Create({.ring = RingBits::k32, .max_cohort = 5, .clip = 1, .max_weight = 1000});
  const std::vector<float> values(64, 1);
  const std::vector<uint32_t> sums = Quantized(*quantizer, values, 1000);
  std::vector<float> mean(values.size());
  EXPECT_THAT(quantizer->Mean(sums, 5, 1000, mean), IsOk());
  const absl::Status refused = quantizer->Mean(sums, 5, 5, mean);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Message(refused), HasSubstr("5 contributions with a weight of 5"));
}

TEST(QuantizerTest, TakesClientsOfAnyWeightAtTheirClip) {
  for (const RingBits ring : kRings) {
    for (const int64_t weight : {1, 2, 3, 7, 333, 999, 1000}) {
      const auto quantizer =
          Quantizer::Create({.ring = ring, .max_cohort = 5, .clip = 0.3, .max_weight = 1000});
      const std::vector<float> values(96, weight % 2 == 0 ? 1.0f : -1.0f);
      const std::vector<uint32_t> sums = Quantized(*quantizer, values, weight);
      std::vector<float> mean(values.size());
      EXPECT_THAT(quantizer->Mean(sums, 1, weight, mean), IsOk()) << weight;
    }
  }
}

}  // namespace
}  // namespace fedtune
