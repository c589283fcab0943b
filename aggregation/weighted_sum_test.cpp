// SPDX-License-Identifier: Apache-2.0

#include "aggregation/weighted_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "aggregation/weighted_sum_kernels.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/weighted_sums.h"

namespace fedtune {
namespace {

using fedtune::testing::Add;
using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using fedtune::testing::MeanOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kTooLarge = absl::StatusCode::kOutOfRange;
constexpr float kStep = 0x1p-36f;

// A of 2 x 3, B of 4 x 2.
AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 3, .out_features = 4, .lora_rank = 2, .alpha = 4}});
}
AdapterLayout Wide() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 300, .out_features = 400, .lora_rank = 2, .alpha = 4}});
}

struct Contribution {
  std::vector<float> delta;
  int64_t weight;
};

std::vector<Contribution> RandomContributions(size_t count, size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> value(0, 1e-3f);
  std::uniform_int_distribution<int64_t> weight(1, 100'000);
  std::vector<Contribution> contributions(count);
  for (Contribution& contribution : contributions) {
    contribution.delta.resize(size);
    for (float& v : contribution.delta) v = value(random);
    contribution.weight = weight(random);
  }
  return contributions;
}

TEST(WeightedSumTest, GivesTheWeightedMean) {
  WeightedSum sum(Layout(), FactorSet::kA);
  ASSERT_THAT(Add(sum, std::vector<float>(6, 1.0f), 1), IsOk());
  ASSERT_THAT(Add(sum, std::vector<float>(6, -0.5f), 3), IsOk());
  EXPECT_THAT(MeanOf(sum), Each(-0.125f));
}

TEST(WeightedSumTest, WorksOnTheFactorsOfTheRoundOnly) {
  WeightedSum a(Layout(), FactorSet::kA);
  EXPECT_THAT(Add(a, std::vector<float>(6), 1), IsOk());
  WeightedSum b(Layout(), FactorSet::kB);
  EXPECT_THAT(Add(b, std::vector<float>(8), 1), IsOk());
  WeightedSum both(Layout(), FactorSet::kBoth);
  EXPECT_THAT(Add(both, std::vector<float>(14), 1), IsOk());
}

class LostValues final : public ValueSource {
 public:
  absl::Status Read(int64_t, std::span<float>) const override {
    return absl::DataLossError("lost");
  }
};

TEST(WeightedSumTest, FindsWhatCannotBeReadAndGoesOnWithoutIt) {
  WeightedSum sum(Layout(), FactorSet::kA);
  ASSERT_THAT(Add(sum, std::vector<float>(6, 1.0f), 1), IsOk());
  ValueRange range;
  range.Add(std::vector<float>(6, 0x1p13f));
  const int64_t most = (int64_t{1} << 62) / (int64_t{1} << 49) - 1;
  ASSERT_THAT(sum.Add(std::make_shared<LostValues>(), range, most), IsOk());
  ASSERT_THAT(Add(sum, std::vector<float>(6, -0.5f), 3), IsOk());
  EXPECT_THAT(sum.Unreadable(), ElementsAre(1));
  sum.Remove(1);
  EXPECT_THAT(sum.Unreadable(), IsEmpty());
  EXPECT_THAT(MeanOf(sum), Each(-0.125f));
  EXPECT_THAT(sum.CanAdd(range, most), IsOk()) << "its room is free";
}

TEST(WeightedSumTest, GivesTheSameBytesInEveryOrder) {
  const AdapterLayout layout = Wide();
  std::mt19937_64 random(2);
  auto contributions =
      RandomContributions(9, static_cast<size_t>(layout.parameter_count(FactorSet::kB)), 1);
  std::vector<float> first;
  for (int permutation = 0; permutation < 50; ++permutation) {
    WeightedSum sum(layout, FactorSet::kB);
    for (const auto& [delta, weight] : contributions) ASSERT_THAT(Add(sum, delta, weight), IsOk());
    if (first.empty()) first = MeanOf(sum);
    ASSERT_EQ(MeanOf(sum), first);
    std::shuffle(contributions.begin(), contributions.end(), random);
  }
}

TEST(WeightedSumTest, AllKernelsGiveTheSameBytes) {
  // Halves of a step, the largest values, and an odd number of them.
  std::vector<float> values = {0.0f,     -0.0f,    0x1p-37f,    -0x1p-37f,  0x1.8p-36f,
                               0x1p-13f, 0x1p-60f, 16'383.999f, -16'383.0f, 1e-3f};
  const std::vector<float> more = RandomContributions(1, 1013, 5)[0].delta;
  values.insert(values.end(), more.begin(), more.end());
  std::vector<int64_t> expected(values.size(), 7);
  std::vector<float> expected_mean(values.size());
  const NamedSumKernels portable = SumKernels().front();
  const WeightedValues one{values.data(), 4095};
  portable.add({&one, 1}, expected);
  portable.mean(expected.data(), 5000, expected_mean);
  EXPECT_EQ(expected[2], 7);             // Ties to even: half a step is none,
  EXPECT_EQ(expected[4], 7 + 2 * 4095);  // one and a half are two.
  for (const NamedSumKernels& kernels : SumKernels()) {
    std::vector<int64_t> sums(values.size(), 7);
    std::vector<float> mean(values.size());
    kernels.add({&one, 1}, sums);
    kernels.mean(sums.data(), 5000, mean);
    EXPECT_EQ(sums, expected) << kernels.name;
    EXPECT_EQ(mean, expected_mean) << kernels.name;
  }
}

TEST(WeightedSumTest, KernelsAddSeveralAsTheyAddOneAfterTheOther) {
  const auto contributions = RandomContributions(9, 1013, 6);
  for (const NamedSumKernels& kernels : SumKernels()) {
    std::vector<int64_t> one_by_one(1013, -7);
    std::vector<WeightedValues> sources;
    for (const Contribution& contribution : contributions) {
      sources.push_back({contribution.delta.data(), contribution.weight});
      kernels.add({&sources.back(), 1}, one_by_one);
      std::vector<int64_t> together(1013, -7);
      kernels.add(sources, together);
      ASSERT_EQ(together, one_by_one) << kernels.name << ", " << sources.size();
    }
  }
}

TEST(WeightedSumTest, IsWithinHalfAStepOfTheExactMean) {
  const AdapterLayout layout = Wide();
  const auto size = static_cast<size_t>(layout.parameter_count(FactorSet::kBoth));
  const auto contributions = RandomContributions(7, size, 3);
  WeightedSum sum(layout, FactorSet::kBoth);
  for (const auto& [delta, weight] : contributions) ASSERT_THAT(Add(sum, delta, weight), IsOk());
  const std::vector<float> mean = MeanOf(sum);
  for (size_t i = 0; i < size; ++i) {
    long double exact = 0;
    long double total_weight = 0;
    for (const auto& [delta, weight] : contributions) {
      exact += static_cast<long double>(delta[i]) * static_cast<long double>(weight);
      total_weight += static_cast<long double>(weight);
    }
    exact /= total_weight;
    const double rounding = std::abs(static_cast<double>(exact)) * 0x1p-24;
    ASSERT_NEAR(mean[i], static_cast<double>(exact), kStep / 2 + rounding);
  }
}

TEST(WeightedSumTest, LosesNothingOfOneClientsLargerValues) {
  const AdapterLayout layout = Wide();
  const auto size = static_cast<size_t>(layout.parameter_count(FactorSet::kA));
  const std::vector<float> delta = RandomContributions(1, size, 4)[0].delta;
  WeightedSum sum(layout, FactorSet::kA);
  ASSERT_THAT(Add(sum, delta, 12'480), IsOk());
  const std::vector<float> mean = MeanOf(sum);
  for (size_t i = 0; i < size; ++i) {
    if (std::abs(delta[i]) >= 0x1p-13f) {
      ASSERT_EQ(mean[i], delta[i]);
    } else {
      ASSERT_NEAR(mean[i], delta[i], kStep / 2);
    }
  }
}

TEST(WeightedSumTest, RoundsHalvesToEven) {
  WeightedSum sum(Layout(), FactorSet::kA);
  ASSERT_THAT(Add(sum,
                  std::vector<float>{0.5f * kStep, 1.5f * kStep, -0.5f * kStep, -1.5f * kStep,
                                     0.75f * kStep, 0},
                  1),
              IsOk());
  EXPECT_THAT(MeanOf(sum), ElementsAre(0, 2 * kStep, 0, -2 * kStep, kStep, 0));
}

TEST(WeightedSumTest, RefusesAnotherNumberOfValues) {
  WeightedSum sum(Layout(), FactorSet::kA);
  const absl::Status status = Add(sum, std::vector<float>(5), 1);
  EXPECT_THAT(status, HasCode(kInvalid));
  EXPECT_EQ(Message(status), "the contribution has 5 values, 6 are expected");
}

TEST(WeightedSumTest, RefusesAWeightBelowOne) {
  WeightedSum sum(Layout(), FactorSet::kA);
  EXPECT_THAT(Add(sum, std::vector<float>(6), 0), HasCode(kInvalid));
  EXPECT_THAT(Add(sum, std::vector<float>(6), -1), HasCode(kInvalid));
}

TEST(WeightedSumTest, NamesTheValueThatIsNotFinite) {
  WeightedSum sum(Layout(), FactorSet::kBoth);
  std::vector<float> delta(14);
  delta[8] = std::numeric_limits<float>::quiet_NaN();
  const absl::Status status = Add(sum, delta, 1);
  EXPECT_THAT(status, HasCode(kInvalid));
  EXPECT_EQ(Message(status), "the contribution is not finite at q.lora_B[2]");
}

TEST(WeightedSumTest, RefusesValuesThatNoTrainingGives) {
  WeightedSum sum(Layout(), FactorSet::kA);
  std::vector<float> delta(6);
  delta[4] = -16384;
  const absl::Status status = Add(sum, delta, 1);
  EXPECT_THAT(status, HasCode(kTooLarge));
  EXPECT_EQ(Message(status),
            "the contribution is too large to be added: -16384 at q.lora_A[4] with weight 1, after "
            "a weight of 0; its training has diverged, a lower learning rate helps");
  delta[4] = std::numeric_limits<float>::max();
  EXPECT_THAT(Add(sum, delta, 1), HasCode(kTooLarge));
}

TEST(WeightedSumTest, RefusesWhatCouldLeaveTheRangeOfTheSum) {
  WeightedSum sum(Layout(), FactorSet::kA);
  // 2^36 steps times 2^26 is the 62 bits that there are.
  EXPECT_THAT(Add(sum, std::vector<float>(6, 1), (int64_t{1} << 26) + 1), HasCode(kTooLarge));
  EXPECT_THAT(Add(sum, std::vector<float>(6, 1), int64_t{1} << 25), IsOk());
  EXPECT_THAT(Add(sum, std::vector<float>(6, -1), int64_t{1} << 25), IsOk());
  EXPECT_THAT(Add(sum, std::vector<float>(6, kStep), 1), HasCode(kTooLarge));
  EXPECT_THAT(Add(sum, std::vector<float>(6, 0), 1), IsOk());
  EXPECT_THAT(Add(sum, std::vector<float>(6, 0), int64_t{1} << 53), HasCode(kTooLarge));
}

TEST(WeightedSumTest, ARefusedContributionLeavesTheSumUnchanged) {
  WeightedSum sum(Layout(), FactorSet::kA);
  ASSERT_THAT(Add(sum, std::vector<float>(6, 0.25f), 3), IsOk());
  std::vector<float> bad(6, 1);
  bad[5] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Add(sum, bad, 1), HasCode(kInvalid));
  bad[5] = 20000;
  EXPECT_THAT(Add(sum, bad, 1), HasCode(kTooLarge));
  EXPECT_THAT(MeanOf(sum), Each(0.25f));
}

TEST(WeightedSumTest, GivesTheMeanOfAnyPiece) {
  const AdapterLayout layout = Wide();
  const auto size = static_cast<size_t>(layout.parameter_count(FactorSet::kA));
  WeightedSum sum(layout, FactorSet::kA);
  for (const auto& [delta, weight] : RandomContributions(3, size, 5)) {
    ASSERT_THAT(Add(sum, delta, weight), IsOk());
  }
  const std::vector<float> whole = MeanOf(sum);
  std::vector<float> piece(100);
  ASSERT_THAT(sum.Mean(17, piece), IsOk());
  EXPECT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + 17));
}

class BrokenDisk final : public ValueSource {
 public:
  absl::Status Read(int64_t, std::span<float>) const override {
    return absl::InternalError("cannot be read");
  }
};

TEST(WeightedSumTest, SaysWhenAContributionCannotBeRead) {
  WeightedSum sum(Layout(), FactorSet::kA);
  ValueRange range;
  range.Add(std::vector<float>(6));
  ASSERT_THAT(sum.Add(std::make_shared<BrokenDisk>(), range, 1), IsOk());
  std::vector<float> mean(6);
  EXPECT_THAT(sum.Mean(0, mean), HasCode(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace fedtune
