// SPDX-License-Identifier: Apache-2.0

#include "aggregation/next_adapter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "aggregation/adapter_init.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/optimized_adapter.h"
#include "tests/support/status_matchers.h"
#include "tests/support/weighted_sums.h"

namespace fedtune {
namespace {

using fedtune::testing::Add;
using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using fedtune::testing::NextAdapter;
using fedtune::testing::OptimizedAdapter;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kIn = 24;
constexpr int64_t kOut = 20;
constexpr int64_t kRank = 4;

AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = kIn, .out_features = kOut, .lora_rank = kRank, .alpha = 8}});
}

std::vector<float> Noise(int64_t size, float deviation, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> value(0, deviation);
  std::vector<float> noise(static_cast<size_t>(size));
  for (float& v : noise) v = value(random);
  return noise;
}

std::vector<float> Difference(std::span<const float> a, std::span<const float> b) {
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

// scale B A, row-major, in double.
std::vector<double> DenseChange(const AdapterLayout& layout, std::span<const float> adapter) {
  const std::span<const float> a = adapter.first(kRank * kIn);
  const std::span<const float> b = adapter.subspan(kRank * kIn);
  const double scale = layout.modules()[0].scale();
  std::vector<double> dense(kOut * kIn);
  for (size_t i = 0; i < dense.size(); ++i) {
    double sum = 0;
    for (size_t r = 0; r < kRank; ++r) {
      sum += static_cast<double>(b[i / kIn * kRank + r]) * a[r * kIn + i % kIn];
    }
    dense[i] = scale * sum;
  }
  return dense;
}

TEST(NextAdapterTest, OfOneClientIsWhatItTrained) {
  const AdapterLayout layout = Layout();
  const std::vector<float> global = InitialAdapter(layout, 1);
  std::vector<float> trained = global;
  const std::vector<float> change = Noise(layout.parameter_count(), 1e-3f, 2);
  for (size_t i = 0; i < trained.size(); ++i) trained[i] += change[i];
  WeightedSum sum(layout, FactorSet::kBoth);
  ASSERT_THAT(Add(sum, Difference(trained, global), 6'723), IsOk());
  const auto next = NextAdapter(layout, OptimizedAdapter(global), sum, {});
  ASSERT_THAT(next, IsOk());
  for (size_t i = 0; i < trained.size(); ++i) {
    // Half a step of the sum; a rounding each in the client's difference and in
    // the server's addition.
    const float magnitude = std::max(std::abs(trained[i]), std::abs(global[i]));
    ASSERT_NEAR(next->values[i], trained[i], 0x1p-37 + 0x1p-23 * magnitude);
  }
}

TEST(NextAdapterTest, IsTheSameInWhateverOrderContributionsCame) {
  const AdapterLayout layout = Layout();
  const int64_t count = layout.parameter_count(FactorSet::kB);
  std::vector<uint64_t> clients = {1, 2, 3, 4, 5, 6};
  std::mt19937_64 random(7);
  std::optional<OptimizedAdapter> first;
  for (int permutation = 0; permutation < 30; ++permutation) {
    WeightedSum sum(layout, FactorSet::kB);
    for (const uint64_t client : clients) {
      ASSERT_THAT(Add(sum, Noise(count, 1e-3f, client), static_cast<int64_t>(100 * client)),
                  IsOk());
    }
    const auto next = NextAdapter(layout, OptimizedAdapter(InitialAdapter(layout, 1)), sum,
                                  {.rule = ServerRule::kAdam, .learning_rate = 5e-3f});
    ASSERT_THAT(next, IsOk());
    if (!first.has_value()) first = *next;
    ASSERT_EQ(next->values, first->values);
    ASSERT_EQ(next->head, first->head);
    ASSERT_EQ(next->first_moment, first->first_moment);
    ASSERT_EQ(next->second_moment, first->second_moment);
    std::shuffle(clients.begin(), clients.end(), random);
  }
}

// With A common, the mean of the B_k gives exactly the mean of the dense
// changes scale B_k A; and the same for a common B.
class CommonFactorTest : public ::testing::TestWithParam<FactorSet> {};

TEST_P(CommonFactorTest, AveragingIsExactForTheDenseChange) {
  const AdapterLayout layout = Layout();
  std::vector<float> global = InitialAdapter(layout, 1);
  const std::vector<float> b = Noise(kOut * kRank, 0.1f, 3);
  std::copy(b.begin(), b.end(), global.begin() + kRank * kIn);

  const size_t offset = GetParam() == FactorSet::kA ? 0 : kRank * kIn;
  const int64_t weights[] = {10, 200, 31};
  std::vector<double> mean_change(kOut * kIn);
  WeightedSum sum(layout, GetParam());
  for (uint64_t client = 0; client < 3; ++client) {
    const auto delta = Noise(layout.parameter_count(GetParam()), 0.05f, 10 + client);
    ASSERT_THAT(Add(sum, delta, weights[client]), IsOk());
    std::vector<float> trained = global;
    for (size_t i = 0; i < delta.size(); ++i) trained[offset + i] += delta[i];
    const std::vector<double> change = DenseChange(layout, trained);
    for (size_t i = 0; i < change.size(); ++i) {
      mean_change[i] += static_cast<double>(weights[client]) / 241 * change[i];
    }
  }
  const auto next = NextAdapter(layout, OptimizedAdapter(global), sum, {});
  ASSERT_THAT(next, IsOk());
  const std::vector<double> averaged = DenseChange(layout, next->values);
  for (size_t i = 0; i < averaged.size(); ++i) ASSERT_NEAR(averaged[i], mean_change[i], 1e-7);
}

INSTANTIATE_TEST_SUITE_P(EitherFactor, CommonFactorTest,
                         ::testing::Values(FactorSet::kA, FactorSet::kB));

TEST_P(CommonFactorTest, ModulesOfUnequalRanksComeOutAsIfEachWereAlone) {
  const AdapterModule wide = Layout().modules()[0];
  const AdapterModule narrow = {
      .name = "expert", .in_features = 7, .out_features = 11, .lora_rank = 1, .alpha = 2};
  const AdapterLayout both = *AdapterLayout::Create({wide, narrow});
  const std::vector<float> start = InitialAdapter(both, 1);
  const ServerStep step = {.rule = ServerRule::kAdam, .learning_rate = 5e-3f};
  const auto next = [&](const AdapterLayout& layout, std::span<const float> values,
                        size_t first_of_delta) {
    WeightedSum sum(layout, GetParam());
    for (uint64_t client = 1; client < 4; ++client) {
      const auto delta = Noise(both.parameter_count(GetParam()), 0.05f, client);
      const auto part = std::span(delta).subspan(
          first_of_delta, static_cast<size_t>(layout.parameter_count(GetParam())));
      EXPECT_THAT(Add(sum, {part.begin(), part.end()}, static_cast<int64_t>(client)), IsOk());
    }
    const auto made =
        NextAdapter(layout, OptimizedAdapter({values.begin(), values.end()}), sum, step);
    EXPECT_THAT(made, IsOk());
    return made->values;
  };
  const AdapterLayout first = *AdapterLayout::Create({wide});
  const AdapterLayout second = *AdapterLayout::Create({narrow});
  const auto count = static_cast<size_t>(first.parameter_count());
  std::vector<float> alone = next(first, std::span(start).first(count), 0);
  const std::vector<float> rest = next(second, std::span(start).subspan(count),
                                       static_cast<size_t>(first.parameter_count(GetParam())));
  alone.insert(alone.end(), rest.begin(), rest.end());
  EXPECT_EQ(next(both, start, 0), alone);
}

TEST(NextAdapterTest, LeavesTheOtherFactorAlone) {
  const AdapterLayout layout = Layout();
  const std::vector<float> global = InitialAdapter(layout, 1);
  WeightedSum sum(layout, FactorSet::kB);
  ASSERT_THAT(Add(sum, Noise(layout.parameter_count(FactorSet::kB), 1, 2), 1), IsOk());
  const auto next = NextAdapter(layout, OptimizedAdapter(global), sum, {});
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(std::equal(global.begin(), global.begin() + kRank * kIn, next->values.begin()));
  EXPECT_NE(next->values, global);
}

TEST(NextAdapterTest, RefusesAResultThatIsNotFinite) {
  OptimizedAdapter adapter(InitialAdapter(Layout(), 1));
  adapter.values[kRank * kIn + 5] = std::numeric_limits<float>::max();
  WeightedSum sum(Layout(), FactorSet::kB);
  ASSERT_THAT(Add(sum, std::vector<float>(kOut * kRank, 1e4f), 1), IsOk());
  const auto next = NextAdapter(Layout(), adapter, sum, {.learning_rate = 3e38f});
  EXPECT_THAT(next, HasCode(kInvalid));
  EXPECT_THAT(Message(next.status()), HasSubstr("is not finite at q.lora_B[0]"));
}

}  // namespace
}  // namespace fedtune
