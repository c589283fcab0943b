// SPDX-License-Identifier: Apache-2.0

// From a complete round to the next adapter in the store, on a thread of the work
// queue; run_driver.cpp does the rest.

#include <span>
#include <utility>

#include "aggregation/masked_vector.h"
#include "aggregation/next_adapter.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/driver/pending_release.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"
#include "plan/server_step.h"

namespace fedtune {
namespace {

// Few rounds are so large that more would help.
constexpr int kUnmaskThreads = 2;

// Adapters of so many bytes are not kept in memory of our own.
constexpr size_t kLargeAdapter = size_t{4} << 20;

// Whether the store may take later what it does not take now.
bool MayPass(const absl::Status& stored) {
  return absl::IsResourceExhausted(stored) || absl::IsUnavailable(stored);
}

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

}  // namespace

void RunDriver::CarryOut(const Release& effect) {
  Check(effect.unchanged || sum_.has_value() || masked_sum_.has_value(),
        "a release follows an open aggregation");
  auto pending = std::make_shared<PendingRelease>(
      PendingRelease{.effect = effect,
                     .sum = std::exchange(sum_, std::nullopt),
                     .masked_sum = std::exchange(masked_sum_, std::nullopt),
                     .contributions = {},
                     .started_at = around_.clock.Now(),
                     .adapter = std::nullopt,
                     .optimizer_state = {}});
  around_.work.Add([self = shared_from_this(), pending] {
    if (pending->effect.unchanged) return self->KeepAdapter(pending);
    if (pending->masked_sum.has_value()) return self->MakeSecureRelease(pending);
    self->MakeRelease(pending);
  });
}

void RunDriver::MakeRelease(const std::shared_ptr<PendingRelease>& pending) {
  pending->contributions = pending->sum->contributions();
  pending->started_at = pending->sum->started_at();
  MakeNext(pending, pending->sum->sum());
}

void RunDriver::MakeSecureRelease(const std::shared_ptr<PendingRelease>& pending) {
  MaskedSum& sum = *pending->masked_sum;
  RemoveMasks(*pending->effect.masks, sum.elements(), kUnmaskThreads);
  absl::StatusOr<UnmaskedSum> unmasked =
      UnmaskedSum::Create(sum.layout(), pending->effect.factors, std::move(sum.elements()),
                          std::ssize(sum.contributions()));
  if (!unmasked.ok()) return Receive(ReleaseFailed{std::string(Message(unmasked.status()))});
  RoundSummary& summary = pending->effect.summary;
  summary = SummaryOf(std::move(summary), unmasked->counted(), routing_.experts);
  if (pending->effect.evaluate_only) {
    return Receive(
        Released{.round = summary.round, .adapter = pending->effect.incoming, .counted = summary});
  }
  pending->contributions = sum.contributions();
  pending->started_at = sum.started_at();
  MakeNext(pending, *unmasked);
}

// A burnt round releases what was there.
void RunDriver::KeepAdapter(const std::shared_ptr<PendingRelease>& pending) {
  {
    const std::lock_guard lock(mutex_);
    pending->adapter = adapter_;
  }
  if (optimizer_ != ServerOptimizerState()) pending->optimizer_state = ToBytes(optimizer_);
  StoreRelease(pending);
}

void RunDriver::MakeNext(const std::shared_ptr<PendingRelease>& pending, const MeanSource& mean) {
  OptimizedAdapter incoming;
  {
    const std::lock_guard lock(mutex_);
    const std::span<const float> values = adapter_->values();
    incoming.values.reserve(values.size());
    incoming.values.assign(values.begin(), values.end());
  }
  // A secure round may turn out to be of no use.
  if (pending->masked_sum.has_value()) {
    incoming.state = optimizer_;
  } else {
    incoming.state = std::move(optimizer_);
  }
  absl::StatusOr<OptimizedAdapter> next =
      NextAdapter(layout_, std::move(incoming), mean, ServerStepOf(plan_, pending->effect.round));
  if (!next.ok()) return Receive(ReleaseFailed{std::string(Message(next.status()))});
  pending->adapter.emplace(std::move(next->values));
  optimizer_ = std::move(next->state);
  if (optimizer_ != ServerOptimizerState()) pending->optimizer_state = ToBytes(optimizer_);
  StoreRelease(pending);
}

void RunDriver::StoreRelease(const std::shared_ptr<PendingRelease>& pending) {
  NewRelease release;
  release.record = {.summary = pending->effect.summary,
                    .adapter = pending->adapter->digest(),
                    .started_at = pending->started_at,
                    .ended_at = around_.clock.Now()};
  release.contributions = pending->contributions;
  release.adapter = pending->adapter->bytes();
  release.optimizer_state = std::as_bytes(std::span(pending->optimizer_state));
  {
    const std::lock_guard lock(mutex_);
    release.traffic = record_.traffic;
  }
  const absl::Status stored = around_.store.SaveRelease(id(), release);
  if (MayPass(stored)) {
    if (!std::exchange(pending->waits, true)) {
      Warn("the run waits until its release can be stored", stored);
    }
    return around_.timers.After(around_.store_again, [self = shared_from_this(), pending] {
      self->around_.work.Add([self, pending] { self->StoreRelease(pending); });
    });
  }
  if (!stored.ok()) return Receive(ReleaseFailed{std::string(Message(stored))});
  LeaveInStore(*pending->adapter);
  Publish(*pending, release.record);
}

void RunDriver::LeaveInStore(GlobalAdapter& adapter) const {
  if (adapter.bytes().size() < kLargeAdapter) return;
  absl::StatusOr<Blob> stored = around_.store.GetBlob(adapter.digest());
  if (!stored.ok() || stored->size() != adapter.bytes().size()) return;
  adapter = GlobalAdapter(*std::move(stored), adapter.digest());
}

void RunDriver::Publish(const PendingRelease& pending, const ReleaseRecord& record) {
  const std::lock_guard lock(mutex_);
  journal_.Close();
  adapter_ = pending.adapter;
  record_.adapter = record.adapter;
  record_.rounds_done = record.summary.round + 1;
  last_release_ = record;
  around_.log.Info("round released",
                   {Field("run", id().value), Field("round", record.summary.round),
                    Field("contributions", record.summary.contributions),
                    Field("loss", fmt::format("{:.4f}", record.summary.training_loss)),
                    Field("adapter", record.adapter.ToHex().substr(0, 12))});
  ReceiveLocked(Released{
      .round = record.summary.round, .adapter = record.adapter, .counted = record.summary});
}

}  // namespace fedtune
