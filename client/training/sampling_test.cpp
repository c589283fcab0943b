// SPDX-License-Identifier: Apache-2.0

#include "client/training/sampling.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

// Probabilities 0.1, 0.4, 0.2, 0.3.
const std::vector<float> kLogits = {std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.3F)};

std::vector<double> Shares(const Sampling& sampling, int draws = 20'000) {
  Sampler sampler(sampling);
  std::vector<double> shares(kLogits.size());
  for (int i = 0; i < draws; ++i)
    shares[static_cast<size_t>(sampler.Choose(kLogits))] += 1.0 / draws;
  return shares;
}

TEST(SamplerTest, WithoutTemperatureTheLikeliestTokenIsChosen) {
  Sampler sampler({});
  EXPECT_EQ(sampler.Choose(kLogits), 1);
  EXPECT_EQ(sampler.Choose(std::vector<float>{2, 5, 5}), 1);
}

TEST(SamplerTest, TokensComeAsOftenAsTheyAreLikely) {
  const std::vector<double> shares = Shares({.temperature = 1});
  const std::vector<double> expected = {0.1, 0.4, 0.2, 0.3};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(shares[i], expected[i], 0.02) << i;
}

TEST(SamplerTest, TemperatureSharpensAndFlattens) {
  EXPECT_GT(Shares({.temperature = 0.25})[1], 0.7);
  EXPECT_NEAR(Shares({.temperature = 100})[0], 0.25, 0.02);
}

TEST(SamplerTest, TopKAndTopPLeaveOutTheUnlikely) {
  EXPECT_THAT(Shares({.temperature = 1, .top_k = 2}),
              ElementsAre(0, ::testing::DoubleNear(4 / 7.0, 0.02), 0,
                          ::testing::DoubleNear(3 / 7.0, 0.02)));
  // 0.4 alone is below 0.6; 0.4 and 0.3 reach it.
  EXPECT_THAT(Shares({.temperature = 1, .top_k = 0, .top_p = 0.6}),
              ElementsAre(0, ::testing::DoubleNear(4 / 7.0, 0.02), 0,
                          ::testing::DoubleNear(3 / 7.0, 0.02)));
  EXPECT_THAT(Shares({.temperature = 1, .top_k = 0, .top_p = 1e-9}),
              ElementsAre(0, ::testing::DoubleNear(1, 1e-6), 0, 0));
}

// Of each token, by sorting all of them.
std::vector<double> ExpectedShares(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<std::pair<double, size_t>> likeliest;
  for (size_t i = 0; i < logits.size(); ++i) {
    likeliest.emplace_back(-std::exp(logits[i] / sampling.temperature), i);
  }
  std::sort(likeliest.begin(), likeliest.end());
  if (sampling.top_k > 0) likeliest.resize(static_cast<size_t>(sampling.top_k));
  const auto sum = [&] {
    double sum = 0;
    for (const auto& [weight, token] : likeliest) sum -= weight;
    return sum;
  };
  const double wanted = sampling.top_p * sum();
  double kept = 0;
  const auto end = std::find_if(likeliest.begin(), likeliest.end(),
                                [&](const auto& next) { return (kept -= next.first) >= wanted; });
  if (end != likeliest.end()) likeliest.erase(end + 1, likeliest.end());
  const double all = sum();
  std::vector<double> shares(logits.size());
  for (const auto& [weight, token] : likeliest) shares[token] = -weight / all;
  return shares;
}

// By Pearson's chi-square, whose mean is the number of tokens that can come less one.
TEST(SamplerTest, OfManyTokensTheRightOnesComeAsOftenAsTheyAreLikely) {
  std::mt19937_64 random(7);
  std::vector<float> logits(300);
  for (float& logit : logits) logit = static_cast<float>(random() % 700) / 100;
  constexpr int kDraws = 30'000;
  for (const Sampling& sampling :
       {Sampling{.temperature = 1}, Sampling{.temperature = 0.7, .top_k = 90},
        Sampling{.temperature = 1.3, .top_p = 0.8},
        Sampling{.temperature = 1, .top_k = 200, .top_p = 0.5}}) {
    const std::vector<double> expected = ExpectedShares(logits, sampling);
    Sampler sampler(sampling);
    std::vector<int> came(logits.size());
    for (int i = 0; i < kDraws; ++i) ++came[static_cast<size_t>(sampler.Choose(logits))];
    double chi_square = 0;
    int possible = 0;
    for (size_t token = 0; token < logits.size(); ++token) {
      const double mean = expected[token] * kDraws;
      if (mean == 0) {
        EXPECT_EQ(came[token], 0) << token;
        continue;
      }
      ++possible;
      chi_square += (came[token] - mean) * (came[token] - mean) / mean;
    }
    const double degrees = possible - 1;
    EXPECT_NEAR(chi_square, degrees, 4 * std::sqrt(2 * degrees))
        << sampling.top_k << sampling.top_p;
  }
}

TEST(SamplerTest, EqualSeedsGiveEqualTokens) {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .top_k = 0, .top_p = 1, .seed = seed});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.Choose(kLogits));
    return tokens;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(CheckSamplingTest, RefusesNumbersOutOfTheirRanges) {
  EXPECT_THAT(CheckSampling({}), IsOk());
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(CheckSampling({.temperature = -1}), refused);
  EXPECT_THAT(CheckSampling({.temperature = NAN}), refused);
  EXPECT_THAT(CheckSampling({.temperature = 1, .top_k = -1}), refused);
  EXPECT_THAT(CheckSampling({.temperature = 1, .top_k = 0, .top_p = 0}), refused);
  EXPECT_THAT(CheckSampling({.temperature = 1, .top_k = 0, .top_p = 1.5}), refused);
}

}  // namespace
}  // namespace fedtune
