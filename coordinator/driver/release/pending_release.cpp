// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/release/pending_release.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <variant>

#include "aggregation/next_adapter.h"
#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/rounds/round_journal.h"
#include "plan/server_step.h"

namespace fedtune {
namespace {

RoundSummary SummaryOf(RoundSummary summary, const CountedRounds& counted, int64_t experts) {
  summary.example_count = counted.example_count;
  summary.training_loss = counted.training_loss;
  if (!counted.routed_tokens.empty()) summary.routed = {experts, counted.routed_tokens};
  if (counted.before.has_value()) {
    summary.evaluation = EvaluationSummary{.round = summary.round,
                                           .loss = counted.before->loss,
                                           .accuracy = counted.before->accuracy,
                                           .example_count = counted.before->example_count};
  }
  return summary;
}

// Whether the store may take later what it does not take now.
bool MayPass(const absl::Status& stored) {
  return absl::IsResourceExhausted(stored) || absl::IsUnavailable(stored);
}

}  // namespace

PendingRelease::PendingRelease(const Setting& setting, Parts parts)
    : setting_(setting), parts_(std::move(parts)) {
  Check(parts_.effect.unchanged || !std::holds_alternative<std::monostate>(parts_.sum),
        "a release follows an open aggregation");
}

PendingRelease::Outcome PendingRelease::Complete(const std::function<Traffic()>& traffic,
                                                 const Clock& clock) {
  const absl::Status made = Make();
  if (MayPass(made)) return StoreRefuses{made};
  if (!made.ok()) return WhyNone(made);
  const Release& effect = parts_.effect;
  if (only_counts()) {
    return Released{
        .round = effect.summary.round, .adapter = effect.incoming, .counted = effect.summary};
  }
  absl::StatusOr<ReleaseRecord> stored = Store(traffic(), clock.Now());
  if (stored.ok()) return *std::move(stored);
  if (MayPass(stored.status())) return StoreRefuses{stored.status()};
  return ReleaseFailed{.reason = std::string(Message(stored.status()))};
}

PendingRelease::Outcome PendingRelease::WhyNone(const absl::Status& made) {
  if (auto* sum = std::get_if<RoundSum>(&parts_.sum)) {
    std::vector<Institution> lost = sum->TakeOutLost();
    if (!lost.empty()) return LostSome{.from = std::move(lost), .why = made};
  }
  return ReleaseFailed{.reason = std::string(Message(made)),
                       .is_impossible_sum = absl::IsOutOfRange(made)};
}

// A burnt round releases what was there.
absl::Status PendingRelease::Make() {
  if (parts_.effect.unchanged) {
    adapter_ = parts_.newest;
    optimizer_ = parts_.optimizer;
    return absl::OkStatus();
  }
  const auto* masked = std::get_if<MaskedSum>(&parts_.sum);
  if (masked != nullptr && !unmasked_.has_value()) RETURN_IF_ERROR(Unmask(*masked));
  return only_counts() || next_ != nullptr ? absl::OkStatus() : MakeNext();
}

absl::Status PendingRelease::Unmask(const MaskedSum& sum) {
  ASSIGN_OR_RETURN(unmasked_, UnmaskedSum::Create(sum.layout(), parts_.effect.factors,
                                                  sum.Unmasked(parts_.effect.masks),
                                                  std::ssize(sum.contributions())));
  RoundSummary& summary = parts_.effect.summary;
  summary = SummaryOf(std::move(summary), unmasked_->counted(), setting_.experts);
  return absl::OkStatus();
}

absl::Status PendingRelease::MakeNext() {
  const ServerStep step = ServerStepOf(setting_.plan, parts_.effect.round);
  const OptimizerStateHead head =
      Next(parts_.optimizer.head, step.rule, mean().factors(), setting_.layout.parameter_count());
  ASSIGN_OR_RETURN(std::unique_ptr<NextInStore> next,
                   NextInStore::Create(setting_.store, *parts_.newest, parts_.optimizer, head));
  RETURN_IF_ERROR(MakeNextAdapter(setting_.layout, mean(), step, head, *next));
  RETURN_IF_ERROR(next->Finish());
  adapter_ = next->adapter();
  optimizer_ = next->state();
  next_ = std::move(next);
  return absl::OkStatus();
}

const MeanSource& PendingRelease::mean() const {
  if (unmasked_.has_value()) return *unmasked_;
  return std::get<RoundSum>(parts_.sum).sum();
}

absl::StatusOr<ReleaseRecord> PendingRelease::Store(const Traffic& traffic, absl::Time now) {
  NewRelease release;
  release.record = {.summary = parts_.effect.summary,
                    .adapter = adapter_->digest(),
                    .started_at = StartedAt(),
                    .ended_at = now};
  release.oldest_wanted = OldestWanted();
  if (const BetweenRounds& between = parts_.effect.between; !between.empty()) {
    release.journal = ToBytes({.at = absl::ZeroDuration(), .what = between});
  }
  release.contributions = Contributions();
  release.adapter = adapter_->bytes();
  release.optimizer_state = optimizer_.blob.bytes();
  release.traffic = traffic;
  if (next_ != nullptr) next_->Fill(release);
  const absl::Status stored = setting_.store.SaveRelease(setting_.run, release);
  if (stored.ok()) return release.record;
  if (next_ != nullptr && !next_->can_be_kept()) next_.reset();
  return stored;
}

// What somebody who is late has started from.
std::optional<int64_t> PendingRelease::OldestWanted() const {
  std::optional<int64_t> oldest;
  for (const auto& [institution, work] : parts_.effect.between.work) {
    oldest = std::min(oldest.value_or(work.round - 1), work.round - 1);
  }
  return oldest;
}

absl::Time PendingRelease::StartedAt() const {
  if (parts_.effect.unchanged) return parts_.wanted_at;
  if (const auto* masked = std::get_if<MaskedSum>(&parts_.sum)) return masked->started_at();
  return std::get<RoundSum>(parts_.sum).started_at();
}

std::vector<ContributionRecord> PendingRelease::Contributions() const {
  if (parts_.effect.unchanged) return {};
  if (const auto* masked = std::get_if<MaskedSum>(&parts_.sum)) return masked->contributions();
  return std::get<RoundSum>(parts_.sum).contributions();
}

}  // namespace fedtune
