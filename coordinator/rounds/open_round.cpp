// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/open_round.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <utility>

#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// A mean that weighs each value; absent until something with a weight came in.
class WeightedMean {
 public:
  void Add(double value, int64_t weight) {
    sum_ += value * static_cast<double>(weight);
    weight_ += weight;
  }
  int64_t weight() const { return weight_; }
  std::optional<double> Value() const {
    if (weight_ == 0) return std::nullopt;
    return sum_ / static_cast<double>(weight_);
  }

 private:
  double sum_ = 0;
  int64_t weight_ = 0;
};

void AddTo(std::vector<int64_t>& sums, const std::vector<int64_t>& counts) {
  Check(sums.size() == counts.size(), "a contribution that was checked counts what the round does");
  std::transform(sums.begin(), sums.end(), counts.begin(), sums.begin(), std::plus<>());
}

}  // namespace

OpenRound::OpenRound(RoundTask task, const std::vector<Institution>& cohort) : task_(task) {
  for (const Institution& institution : cohort) members_[institution];
  expected_ = std::ssize(members_);
}

OpenRound::Answer OpenRound::AnswerOf(const Institution& institution) const {
  const auto member = members_.find(institution);
  return member == members_.end() ? Answer::kStranger : member->second.answer;
}

bool OpenRound::Contains(const Institution& institution) const {
  return AnswerOf(institution) != Answer::kStranger;
}
bool OpenRound::Expects(const Institution& institution) const {
  return AnswerOf(institution) == Answer::kNone;
}
bool OpenRound::HasContributed(const Institution& institution) const {
  return AnswerOf(institution) == Answer::kContributed;
}
bool OpenRound::HasFailed(const Institution& institution) const {
  return AnswerOf(institution) == Answer::kFailed;
}

std::string_view OpenRound::FailureOf(const Institution& institution) const {
  const auto member = members_.find(institution);
  return member == members_.end() ? std::string_view() : member->second.reason;
}

void OpenRound::Contribute(const Institution& institution, int64_t weight, int64_t example_count,
                           const ClientMetrics& metrics) {
  Check(Expects(institution), "a contribution that is not expected");
  members_[institution] = {Answer::kContributed, "", weight, example_count, metrics};
  ++contributed_;
  --expected_;
}

void OpenRound::Fail(const Institution& institution, std::string reason) {
  Check(Expects(institution), "a failure that is not expected");
  members_[institution] = {Answer::kFailed, std::move(reason), 0, 0, {}};
  --expected_;
}

void OpenRound::TakeBack(const Institution& institution, absl::Duration until) {
  Check(HasContributed(institution), "a contribution is lost that was not taken");
  task_.deadline = std::max(task_.deadline, until);
  members_[institution] = {};
  --contributed_;
  ++expected_;
}

void OpenRound::Add(const Institution& institution) {
  Check(!Contains(institution), "an institution joins twice");
  members_[institution];
  ++expected_;
}

void OpenRound::Remove(const Institution& institution) {
  Check(Expects(institution), "an institution leaves that is not expected");
  members_.erase(institution);
  --expected_;
}

std::vector<Institution> OpenRound::Expected() const { return With(Answer::kNone); }

std::vector<Institution> OpenRound::Contributors() const { return With(Answer::kContributed); }

std::vector<Institution> OpenRound::With(Answer answer) const {
  std::vector<Institution> found;
  for (const auto& [institution, member] : members_) {
    if (member.answer == answer) found.push_back(institution);
  }
  return found;
}

std::vector<std::string> OpenRound::Missing(bool time_is_up) const {
  std::vector<std::string> missing;
  for (const auto& [institution, member] : members_) {
    if (member.answer == Answer::kFailed) {
      missing.push_back(fmt::format("{} failed: {}", institution.value, member.reason));
    } else if (member.answer == Answer::kNone && time_is_up) {
      missing.push_back(fmt::format("{} did not answer", institution.value));
    }
  }
  return missing;
}

std::vector<Institution> OpenRound::AtFault(bool time_is_up) const {
  std::vector<Institution> at_fault = With(Answer::kFailed);
  if (!time_is_up) return at_fault;
  std::ranges::copy(With(Answer::kNone), std::back_inserter(at_fault));
  return at_fault;
}

RoundSummary OpenRound::Summary() const {
  RoundSummary summary{.round = task_.round, .attempt = task_.attempt};
  summary.routed.experts = task_.routing.experts;
  summary.routed.counts.resize(static_cast<size_t>(task_.routing.counter_count()));
  WeightedMean training_loss;
  WeightedMean loss;
  WeightedMean accuracy;
  for (const auto& [institution, member] : members_) {
    if (member.answer != Answer::kContributed) continue;
    ++summary.contributions;
    summary.example_count += member.example_count;
    training_loss.Add(member.metrics.training_loss, member.weight);
    AddTo(summary.routed.counts, member.metrics.routed_tokens);
    const std::optional<EvaluationResult>& before = member.metrics.before;
    if (!before.has_value()) continue;
    loss.Add(before->loss, before->example_count);
    if (before->accuracy.has_value()) accuracy.Add(*before->accuracy, before->example_count);
  }
  summary.training_loss = training_loss.Value().value_or(0);
  if (loss.Value().has_value()) {
    summary.evaluation = EvaluationSummary{.round = task_.round,
                                           .loss = *loss.Value(),
                                           .accuracy = accuracy.Value(),
                                           .example_count = loss.weight()};
  }
  return summary;
}

}  // namespace fedtune
