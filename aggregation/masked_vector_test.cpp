// SPDX-License-Identifier: Apache-2.0

#include "aggregation/masked_vector.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/elements_in_memory.h"
#include "tests/support/optimized_adapter.h"
#include "tests/support/quantizer_steps.h"
#include "tests/support/status_matchers.h"
#include "tests/support/values_in_memory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::InMemory;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr RoutingShape kRouting = {
    .layers = 2, .experts = 3, .choices = 1, .most_tokens = int64_t{1} << 40};

AdapterLayout Adapter() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 301, .out_features = 211, .lora_rank = 4, .alpha = 8}});
}

MaskedLayout LayoutOf(const QuantizerSettings& settings,
                      int64_t value_count = Adapter().parameter_count()) {
  auto layout =
      MaskedLayout::Create(settings, value_count, RoundCounters(settings.max_weight, kRouting));
  EXPECT_THAT(layout, IsOk()) << layout.status();
  return *std::move(layout);
}

// One random client.
struct Client {
  std::vector<float> delta;
  CountedRound round;
  uint8_t key = 0;

  absl::StatusOr<MaskedVector> Vector(const MaskedLayout& layout) const {
    static const AdapterLayout kAdapter = Adapter();
    ValueRange range;
    range.Add(delta);
    return MaskedVector::Create(layout,
                                {.values = std::make_shared<testing::ValuesInMemory>(delta),
                                 .range = range,
                                 .adapter = kAdapter},
                                round, SecretBytes(std::vector<uint8_t>(32, key)));
  }
  std::vector<uint32_t> Elements(const MaskedLayout& layout) const {
    const auto vector = Vector(layout);
    EXPECT_THAT(vector, IsOk()) << vector.status();
    std::vector<uint32_t> elements(static_cast<size_t>(layout.element_count()));
    EXPECT_THAT(vector->Read(0, elements), IsOk());
    return elements;
  }
};

Client RandomClient(const QuantizerSettings& settings, std::mt19937_64& random) {
  const auto whole = [&random](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  const auto real = [&random](double most) {
    return std::uniform_real_distribution<double>(0, most)(random);
  };
  const auto evaluation = [&]() -> std::optional<EvaluationResult> {
    const int64_t examples = whole(1, 200'000);
    const double share = static_cast<double>(whole(0, examples)) / static_cast<double>(examples);
    return EvaluationResult{.loss = real(12),
                            .accuracy = whole(0, 2) > 0 ? std::optional(share) : std::nullopt,
                            .example_count = examples};
  };
  Client client;
  client.key = static_cast<uint8_t>(random());
  std::normal_distribution<float> value(0, 0.2f);
  client.delta.resize(static_cast<size_t>(Adapter().parameter_count()));
  for (float& v : client.delta) v = value(random);
  client.round = {.weight = whole(1, settings.max_weight),
                  .example_count = whole(1, 1'000'000),
                  .training_loss = real(12),
                  .steps = whole(1, 100'000),
                  .token_count = whole(1, int64_t{1} << 40),
                  .before = whole(0, 3) > 0 ? evaluation() : std::nullopt,
                  .after = whole(0, 3) > 0 ? evaluation() : std::nullopt};
  for (int i = 0; i < 6; ++i) {
    client.round.routed_tokens.push_back(whole(0, client.round.token_count));
  }
  return client;
}

std::vector<uint32_t> SumOf(const MaskedLayout& layout, const std::vector<Client>& clients) {
  std::vector<uint32_t> sum(static_cast<size_t>(layout.element_count()));
  for (const Client& client : clients) {
    const std::vector<uint32_t> elements = client.Elements(layout);
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i] = (sum[i] + elements[i]) & RingMask(layout.quantizer().settings().ring);
    }
  }
  return sum;
}

// Means in fp64, of what the clients said.
class Mean {
 public:
  void Add(double value, int64_t weight) {
    sum_ += value * static_cast<double>(weight);
    weight_ += weight;
  }
  double value() const { return sum_ / static_cast<double>(weight_); }
  int64_t weight() const { return weight_; }

 private:
  double sum_ = 0;
  int64_t weight_ = 0;
};

void ExpectEvaluations(const std::optional<EvaluationResult>& summed,
                       const std::vector<Client>& clients,
                       std::optional<EvaluationResult> CountedRound::*which) {
  Mean loss;
  Mean accuracy;
  for (const Client& client : clients) {
    const auto& evaluation = client.round.*which;
    if (!evaluation.has_value()) continue;
    loss.Add(evaluation->loss, evaluation->example_count);
    if (evaluation->accuracy) accuracy.Add(*evaluation->accuracy, evaluation->example_count);
  }
  ASSERT_EQ(summed.has_value(), loss.weight() > 0);
  if (!summed.has_value()) return;
  EXPECT_EQ(summed->example_count, loss.weight());
  EXPECT_NEAR(summed->loss, loss.value(), 0x1p-17);
  ASSERT_EQ(summed->accuracy.has_value(), accuracy.weight() > 0);
  if (!summed->accuracy.has_value()) return;
  EXPECT_NEAR(*summed->accuracy, accuracy.value(), 1e-12);
}

void ExpectCounted(const CountedRounds& counted, const std::vector<Client>& clients) {
  CountedRounds wanted{.routed_tokens = std::vector<int64_t>(6)};
  Mean training_loss;
  for (const Client& client : clients) {
    const CountedRound& round = client.round;
    wanted.example_count += round.example_count;
    wanted.steps += round.steps;
    wanted.token_count += round.token_count;
    training_loss.Add(round.training_loss, round.weight);
    for (size_t i = 0; i < 6; ++i) wanted.routed_tokens[i] += round.routed_tokens[i];
  }
  EXPECT_EQ(counted.contributions, std::ssize(clients));
  EXPECT_EQ(counted.total_weight, training_loss.weight());
  EXPECT_EQ(counted.example_count, wanted.example_count);
  EXPECT_EQ(counted.steps, wanted.steps);
  EXPECT_EQ(counted.token_count, wanted.token_count);
  EXPECT_EQ(counted.routed_tokens, wanted.routed_tokens);
  EXPECT_NEAR(counted.training_loss, training_loss.value(), 0x1p-17);
  ExpectEvaluations(counted.before, clients, &CountedRound::before);
  ExpectEvaluations(counted.after, clients, &CountedRound::after);
}

// Of one value over all clients.
double ClippedMean(const std::vector<Client>& clients, size_t value, float clip) {
  Mean mean;
  for (const Client& client : clients) {
    mean.Add(std::clamp(client.delta[value], -clip, clip), client.round.weight);
  }
  return mean.value();
}

class MaskedVectorRingTest : public ::testing::TestWithParam<RingBits> {};

TEST_P(MaskedVectorRingTest, SumsDecodeToWhatTheClientsHad) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  for (int repeat = 0; repeat < 8; ++repeat) {
    const QuantizerSettings settings = {.ring = GetParam(),
                                        .max_cohort = 3 + static_cast<int64_t>(random() % 40),
                                        .clip = 0.5,
                                        .max_weight = 1 + static_cast<int64_t>(random() % 70'000)};
    const MaskedLayout layout = LayoutOf(settings);
    std::vector<Client> clients(1 + random() % static_cast<size_t>(settings.max_cohort));
    for (Client& client : clients) client = RandomClient(settings, random);

    const auto sum = UnmaskedSum::Create(layout, FactorSet::kBoth, InMemory(SumOf(layout, clients)),
                                         std::ssize(clients));
    ASSERT_THAT(sum, IsOk()) << sum.status();
    ExpectCounted(sum->counted(), clients);

    std::vector<float> mean(static_cast<size_t>(layout.value_count()));
    ASSERT_THAT(sum->Mean(0, mean), IsOk());
    const double step = testing::MeanStep(settings, sum->counted().total_weight);
    const double error = step * static_cast<double>(clients.size());
    for (size_t i = 0; i < mean.size(); ++i) {
      ASSERT_NEAR(mean[i], ClippedMean(clients, i, 0.5f), error + 0x1p-22);
    }
  }
}

TEST_P(MaskedVectorRingTest, EveryClientAtItsLimitDoesNotOverflow) {
  const QuantizerSettings settings = {.ring = GetParam(), .max_cohort = 200, .max_weight = 65'536};
  const MaskedLayout layout = LayoutOf(settings, 4);
  std::vector<int64_t> numbers;
  for (const Counter& counter : layout.counters()) numbers.push_back(counter.most);
  const auto limbs = layout.Limbs(numbers);
  ASSERT_THAT(limbs, IsOk());
  std::vector<uint32_t> sum = *limbs;
  for (uint32_t& limb : sum) {
    ASSERT_LT(uint64_t{200} * limb, uint64_t{1} << (static_cast<int>(GetParam()) - 1));
    limb *= 200;
  }
  const auto sums = layout.Sums(sum, 200);
  ASSERT_THAT(sums, IsOk());
  for (size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ((*sums)[i], 200 * numbers[i]);
  // With one contribution fewer it is too much.
  EXPECT_THAT(layout.Sums(sum, 199), HasCode(absl::StatusCode::kOutOfRange));
}

TEST_P(MaskedVectorRingTest, IsTheSameInWhateverPieces) {
  std::mt19937_64 random(3);
  const QuantizerSettings settings = {.ring = GetParam(), .max_cohort = 9, .max_weight = 50};
  const MaskedLayout layout = LayoutOf(settings);
  const Client client = RandomClient(settings, random);
  const std::vector<uint32_t> whole = client.Elements(layout);
  const auto again = client.Vector(layout);  // As after a restart.
  for (int repeat = 0; repeat < 100; ++repeat) {
    const size_t first = random() % whole.size();
    std::vector<uint32_t> piece(1 + random() % (whole.size() - first));
    ASSERT_THAT(again->Read(static_cast<int64_t>(first), piece), IsOk());
    ASSERT_TRUE(
        std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<int64_t>(first)));
  }
}

INSTANTIATE_TEST_SUITE_P(EveryRing, MaskedVectorRingTest,
                         ::testing::Values(RingBits::k16, RingBits::k24, RingBits::k32),
                         [](const auto& info) { return std::to_string(int(info.param)); });

class MaskedVectorTest : public ::testing::Test {
 protected:
  MaskedVectorTest() {
    std::mt19937_64 random(1);
    client_ = RandomClient(settings_, random);
  }
  void ExpectRefused(std::string_view message) const {
    const auto vector = client_.Vector(layout_);
    EXPECT_THAT(vector, HasCode(kInvalid));
    EXPECT_THAT(Message(vector.status()), HasSubstr(message));
  }

  const QuantizerSettings settings_ = {.max_cohort = 5, .clip = 1, .max_weight = 100};
  const MaskedLayout layout_ = LayoutOf(settings_);
  Client client_;
};

TEST_F(MaskedVectorTest, NamesAValueThatIsNotFinite) {
  client_.delta[17] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused("the contribution is not finite at q.lora_A[17]");
  client_.delta[17] = std::numeric_limits<float>::infinity();
  ExpectRefused("the contribution is not finite at q.lora_A[17]");
}

TEST_F(MaskedVectorTest, RefusesAnotherNumberOfValues) {
  client_.delta.pop_back();
  ExpectRefused("the contribution has 2047 values, 2048 are expected");
}

TEST_F(MaskedVectorTest, RefusesAWeightOutsideThePlan) {
  client_.round.weight = 0;
  ExpectRefused("weight must be at least 1");
  client_.round.weight = 101;
  ExpectRefused("weight is 101, the plan allows 0 to 100");
}

TEST_F(MaskedVectorTest, RefusesALossThatIsNone) {
  client_.round.training_loss = std::nan("");
  ExpectRefused("the training loss is nan");
}

TEST_F(MaskedVectorTest, RefusesAnAccuracyThatIsNone) {
  client_.round.before = {.loss = 1, .accuracy = 1.1, .example_count = 10};
  ExpectRefused("an accuracy of 1.1 over 10 records, before training, is none");
}

TEST_F(MaskedVectorTest, RefusesRoutingCountsOfAnotherModel) {
  client_.round.routed_tokens.pop_back();
  ExpectRefused("numbers");
}

TEST_F(MaskedVectorTest, RefusesMoreRoutedTokensThanAClientCanHave) {
  client_.round.routed_tokens[4] = kRouting.most_tokens + 1;
  ExpectRefused("routed_tokens[1][1] is 1099511627777, the plan allows 0 to 1099511627776");
  client_.round.routed_tokens[4] = -1;
  ExpectRefused("routed_tokens[1][1] is -1");
}

TEST_F(MaskedVectorTest, SeesAnExpertWithMoreTokensThanThereWere) {
  client_.round.routed_tokens[5] = client_.round.token_count + 1;
  const auto sum =
      UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(client_.Elements(layout_)), 1);
  EXPECT_THAT(sum, HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Message(sum.status()), HasSubstr("tokens went to one expert"));
}

TEST_F(MaskedVectorTest, ASumWithoutValuesCountsAllTheSame) {
  const MaskedLayout layout = LayoutOf(settings_, 0);
  client_.delta.clear();
  client_.round.weight = 0;
  client_.round.before = {.loss = 1.5, .accuracy = 0.25, .example_count = 8};
  const auto sum =
      UnmaskedSum::Create(layout, FactorSet::kBoth, InMemory(client_.Elements(layout)), 1);
  ASSERT_THAT(sum, IsOk());
  EXPECT_EQ(sum->counted().before, client_.round.before);
  EXPECT_EQ(sum->counted().total_weight, 0);
}

TEST_F(MaskedVectorTest, ASumOfOtherThanItsContributionsIsSeen) {
  const std::vector<uint32_t> elements = client_.Elements(layout_);
  EXPECT_THAT(UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(elements), 2),
              HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(elements), 6),
              HasCode(kInvalid));
  std::vector<uint32_t> masked = elements;
  for (uint32_t& element : masked) element += 0x9e3779b9;  // What a mask left over does.
  EXPECT_THAT(UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(masked), 1),
              HasCode(absl::StatusCode::kOutOfRange));
  masked.pop_back();
  EXPECT_THAT(UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(masked), 1),
              HasCode(kInvalid));
}

TEST_F(MaskedVectorTest, TheNextAdapterIsMadeOfItsMean) {
  const AdapterLayout adapter = Adapter();
  const auto sum =
      UnmaskedSum::Create(layout_, FactorSet::kBoth, InMemory(client_.Elements(layout_)), 1);
  const std::vector<float> zero(client_.delta.size());
  const auto next = testing::NextAdapter(adapter, testing::OptimizedAdapter(zero), *sum, {});
  ASSERT_THAT(next, IsOk());
  const double step = testing::MeanStep(layout_.quantizer().settings(), client_.round.weight);
  for (size_t i = 0; i < zero.size(); ++i) {
    ASSERT_NEAR(next->values[i], std::clamp(client_.delta[i], -1.0f, 1.0f), step + 0x1p-22);
  }
}

}  // namespace
}  // namespace fedtune
