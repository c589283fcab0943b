// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/contribution_check.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 53;  // Up to here doubles count exactly.

// Of a loss, either way: far beyond any, and so that sums of them with weights are numbers.
constexpr double kMaxLoss = 1e9;

absl::Status Invalid(std::string_view message) {
  return absl::InvalidArgumentError(fmt::format("the contribution {}", message));
}

bool IsCount(int64_t value) { return value >= 0 && value <= kMaxCount; }
bool IsLoss(double value) { return std::abs(value) <= kMaxLoss; }

absl::Status CheckEvaluation(const std::optional<EvaluationResult>& result) {
  if (!result.has_value()) return absl::OkStatus();
  if (!IsLoss(result->loss)) {
    return Invalid("reports an evaluation loss that is not finite, or none");
  }
  if (!IsCount(result->example_count)) return Invalid("reports a count of records out of range");
  if (result->accuracy.has_value() && !(*result->accuracy >= 0 && *result->accuracy <= 1)) {
    return Invalid("reports an accuracy that is not from 0 to 1");
  }
  return absl::OkStatus();
}

absl::Status CheckMetrics(const ClientMetrics& metrics) {
  if (!IsLoss(metrics.training_loss)) {
    return Invalid("reports a training loss that is not finite, or none: training has diverged");
  }
  if (!IsCount(metrics.steps) || !IsCount(metrics.token_count)) {
    return Invalid("reports a count out of range");
  }
  if (!std::isfinite(metrics.training_seconds) || metrics.training_seconds < 0) {
    return Invalid("reports a training time out of range");
  }
  RETURN_IF_ERROR(CheckEvaluation(metrics.before));
  return CheckEvaluation(metrics.after);
}

// No expert has more tokens than there were, and the layer no more than each of
// them chooses experts.
absl::Status CheckLayer(std::span<const int64_t> experts, int64_t token_count,
                        const RoutingShape& routing) {
  const int64_t most = std::min(token_count, routing.most_tokens);
  __int128 tokens = 0;
  for (const int64_t expert : experts) {
    if (expert < 0 || expert > most) {
      return Invalid(
          fmt::format("reports {} tokens for a routed expert, at most {} can be", expert, most));
    }
    tokens += expert;
  }
  if (tokens > static_cast<__int128>(token_count) * routing.choices) {
    return Invalid("reports more routed tokens in a layer than went through it");
  }
  return absl::OkStatus();
}

absl::Status CheckRouting(const ClientMetrics& metrics, const RoutingShape& routing) {
  std::span<const int64_t> rest = metrics.routed_tokens;
  if (std::ssize(rest) != routing.counter_count()) {
    return Invalid(
        fmt::format("counts the tokens of {} routed experts, the run's base model has {}",
                    rest.size(), routing.counter_count()));
  }
  const auto experts = static_cast<size_t>(routing.experts);
  for (; !rest.empty(); rest = rest.subspan(experts)) {
    RETURN_IF_ERROR(CheckLayer(rest.first(experts), metrics.token_count, routing));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHeader(const ContributionHeader& header, const ExpectedContribution& expected) {
  if (header.adapter != expected.adapter) {
    return absl::FailedPreconditionError(
        fmt::format("the contribution was trained from adapter {}, but the round starts from {}",
                    header.adapter.ToString(), expected.adapter.ToString()));
  }
  if (header.layout != expected.layout) {
    return Invalid(fmt::format("has layout {}, the run has {}", header.layout.ToString(),
                               expected.layout.ToString()));
  }
  // Factors say nothing about a contribution without values.
  if (!expected.evaluate_only && header.factors != static_cast<uint32_t>(expected.factors)) {
    return Invalid(fmt::format("has factors {}, the round trains {}", header.factors,
                               static_cast<uint32_t>(expected.factors)));
  }
  const uint64_t size_bytes =
      expected.evaluate_only ? 0 : sizeof(float) * static_cast<uint64_t>(expected.value_count);
  if (header.size_bytes != size_bytes) {
    return Invalid(fmt::format("has {} bytes, {} are expected", header.size_bytes, size_bytes));
  }
  RETURN_IF_ERROR(CheckMetrics(header.metrics));
  return CheckRouting(header.metrics, expected.routing);
}

}  // namespace fedtune
