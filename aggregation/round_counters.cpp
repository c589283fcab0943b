// SPDX-License-Identifier: Apache-2.0

#include "aggregation/round_counters.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Of one client. Sums over 10,000 of them stay within 63 bits.
constexpr int64_t kMostSteps = int64_t{1} << 32;
constexpr auto kMostLossSteps = static_cast<int64_t>(kMostLoss * kLossStepsPerNat);

constexpr size_t kHeadCounters = 6;
constexpr size_t kEvaluationCounters = 4;
constexpr size_t kFixedCounters = kHeadCounters + 2 * kEvaluationCounters;

void AddEvaluationCounters(std::string_view name, std::vector<Counter>& counters) {
  counters.push_back({fmt::format("{}.example_count", name), kMostCountedExamples});
  counters.push_back({fmt::format("{}.loss", name), kMostCountedExamples * kMostLossSteps});
  counters.push_back({fmt::format("{}.answered", name), kMostCountedExamples});
  counters.push_back({fmt::format("{}.right", name), kMostCountedExamples});
}

absl::StatusOr<int64_t> LossSteps(std::string_view name, double loss) {
  if (!std::isfinite(loss) || loss < 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}, which is no loss; has training diverged?", name, loss));
  }
  return std::llround(std::min(loss, kMostLoss) * kLossStepsPerNat);
}

absl::Status AddEvaluation(std::string_view name, const std::optional<EvaluationResult>& evaluation,
                           std::vector<int64_t>& numbers) {
  if (!evaluation.has_value()) {
    numbers.insert(numbers.end(), kEvaluationCounters, 0);
    return absl::OkStatus();
  }
  const int64_t examples = evaluation->example_count;
  const double accuracy = evaluation->accuracy.value_or(0);
  if (!(accuracy >= 0 && accuracy <= 1) || examples < 1 || examples > kMostCountedExamples) {
    return absl::InvalidArgumentError(
        fmt::format("an accuracy of {} over {} records, {}, is none", accuracy, examples, name));
  }
  ASSIGN_OR_RETURN(const int64_t loss, LossSteps(name, evaluation->loss));
  const bool answered = evaluation->accuracy.has_value();
  numbers.insert(numbers.end(), {examples, loss * examples, answered ? examples : 0,
                                 std::llround(accuracy * static_cast<double>(examples))});
  return absl::OkStatus();
}

double Ratio(int64_t sum, int64_t weight) {
  return static_cast<double>(sum) / static_cast<double>(weight);
}

absl::StatusOr<std::optional<EvaluationResult>> EvaluationOf(std::span<const int64_t> sums) {
  const int64_t examples = sums[0];
  const int64_t answered = sums[2];
  if (answered > examples || sums[3] > answered || sums[1] / kMostLossSteps > examples) {
    return absl::OutOfRangeError("sums of an evaluation contradict each other");
  }
  if (examples == 0) return std::nullopt;
  EvaluationResult evaluation{.loss = Ratio(sums[1], examples) / kLossStepsPerNat,
                              .example_count = examples};
  if (answered > 0) evaluation.accuracy = Ratio(sums[3], answered);
  return evaluation;
}

}  // namespace

std::vector<Counter> RoundCounters(int64_t max_weight, RoutingShape routing) {
  std::vector<Counter> counters = {{"contributions", 1},
                                   {"weight", max_weight},
                                   {"example_count", kMostCountedExamples},
                                   {"training_loss", max_weight * kMostLossSteps},
                                   {"steps", kMostSteps},
                                   {"token_count", kMostCountedTokens}};
  AddEvaluationCounters("before", counters);
  AddEvaluationCounters("after", counters);
  for (int64_t layer = 0; layer < routing.layers; ++layer) {
    for (int64_t expert = 0; expert < routing.experts; ++expert) {
      counters.push_back(
          {fmt::format("routed_tokens[{}][{}]", layer, expert), routing.most_tokens});
    }
  }
  return counters;
}

absl::StatusOr<std::vector<int64_t>> ToNumbers(const CountedRound& round) {
  if (round.weight < 0 || round.weight > kMostCountedExamples) {
    return absl::InvalidArgumentError(fmt::format("{} is no weight", round.weight));
  }
  ASSIGN_OR_RETURN(const int64_t loss, LossSteps("the training loss", round.training_loss));
  std::vector<int64_t> numbers = {
      1, round.weight, round.example_count, loss * round.weight, round.steps, round.token_count};
  RETURN_IF_ERROR(AddEvaluation("before training", round.before, numbers));
  RETURN_IF_ERROR(AddEvaluation("after training", round.after, numbers));
  numbers.insert(numbers.end(), round.routed_tokens.begin(), round.routed_tokens.end());
  return numbers;
}

absl::StatusOr<CountedRounds> FromSums(std::span<const int64_t> sums, int64_t contributions) {
  Check(sums.size() >= kFixedCounters, "the sums of all counters");
  if (sums[0] != contributions) {
    return absl::OutOfRangeError(fmt::format(
        "{} clients are in the sum, and {} count themselves: one has not sent what was agreed",
        contributions, sums[0]));
  }
  CountedRounds rounds{.contributions = sums[0],
                       .total_weight = sums[1],
                       .example_count = sums[2],
                       .steps = sums[4],
                       .token_count = sums[5]};
  if (rounds.total_weight > 0) {
    rounds.training_loss = Ratio(sums[3], rounds.total_weight) / kLossStepsPerNat;
  }
  ASSIGN_OR_RETURN(rounds.before, EvaluationOf(sums.subspan(kHeadCounters, kEvaluationCounters)));
  ASSIGN_OR_RETURN(rounds.after, EvaluationOf(sums.subspan(kHeadCounters + kEvaluationCounters,
                                                           kEvaluationCounters)));
  const std::span<const int64_t> routed = sums.subspan(kFixedCounters);
  for (const int64_t tokens : routed) {
    if (tokens > rounds.token_count) {
      return absl::OutOfRangeError(fmt::format("{} tokens went to one expert, and there were {}",
                                               tokens, rounds.token_count));
    }
  }
  rounds.routed_tokens.assign(routed.begin(), routed.end());
  return rounds;
}

}  // namespace fedtune
