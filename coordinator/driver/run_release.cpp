// SPDX-License-Identifier: Apache-2.0

// From a complete round to the next adapter in the store, on a thread of the work
// queue; run_driver.cpp does the rest.

#include <memory>
#include <optional>
#include <utility>

#include "aggregation/masked_vector.h"
#include "aggregation/next_adapter.h"
#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/pending_release.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"
#include "plan/server_step.h"

namespace fedtune {
namespace {

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
  auto pending = std::make_shared<PendingRelease>();
  pending->effect = effect;
  pending->sum = std::exchange(sum_, std::nullopt);
  pending->masked_sum = std::exchange(masked_sum_, std::nullopt);
  pending->started_at = around_.clock.Now();
  pending->newest = adapter_;
  around_.work.Add([self = shared_from_this(), pending] {
    if (pending->effect.unchanged) return self->KeepAdapter(pending);
    if (pending->masked_sum.has_value()) return self->MakeSecureRelease(pending);
    self->MakeRelease(pending);
  });
}

void RunDriver::MakeRelease(const std::shared_ptr<PendingRelease>& pending) {
  pending->contributions = pending->sum->contributions();
  pending->started_at = pending->sum->started_at();
  MakeNext(pending);
}

void RunDriver::MakeSecureRelease(const std::shared_ptr<PendingRelease>& pending) {
  const MaskedSum& sum = *pending->masked_sum;
  absl::StatusOr<UnmaskedSum> unmasked =
      UnmaskedSum::Create(sum.layout(), pending->effect.factors,
                          sum.Unmasked(pending->effect.masks), std::ssize(sum.contributions()));
  if (!unmasked.ok()) return Receive(ReleaseFailed{std::string(Message(unmasked.status()))});
  RoundSummary& summary = pending->effect.summary;
  summary = SummaryOf(std::move(summary), unmasked->counted(), routing_.experts);
  if (pending->effect.evaluate_only) {
    return Receive(
        Released{.round = summary.round, .adapter = pending->effect.incoming, .counted = summary});
  }
  pending->contributions = sum.contributions();
  pending->started_at = sum.started_at();
  pending->unmasked = *std::move(unmasked);
  MakeNext(pending);
}

// A burnt round releases what was there.
void RunDriver::KeepAdapter(const std::shared_ptr<PendingRelease>& pending) {
  pending->adapter = pending->newest;
  pending->optimizer = optimizer_;
  StoreRelease(pending);
}

void RunDriver::MakeNext(const std::shared_ptr<PendingRelease>& pending) {
  const absl::Status made = WriteNext(*pending);
  if (MayPass(made)) return TryAgainLater(pending, made);
  if (!made.ok()) return GiveUp(*pending, made);
  StoreRelease(pending);
}

// What the disk has lost is asked for again.
void RunDriver::GiveUp(PendingRelease& pending, const absl::Status& why) {
  std::vector<Institution> lost;
  if (pending.sum.has_value()) lost = pending.sum->TakeOutLost();
  if (lost.empty()) return Receive(ReleaseFailed{std::string(Message(why))});
  TellLost(lost, why);
  const std::lock_guard lock(mutex_);
  sum_ = std::move(pending.sum);
  ReceiveLocked(ContributionsLost{std::move(lost)});
}

absl::Status RunDriver::WriteNext(PendingRelease& pending) const {
  const MeanSource& mean = pending.mean();
  const ServerStep step = ServerStepOf(plan_, pending.effect.round);
  const OptimizerStateHead head =
      Next(optimizer_.head, step.rule, mean.factors(), layout_.parameter_count());
  ASSIGN_OR_RETURN(std::unique_ptr<NextInStore> next,
                   NextInStore::Create(around_.store, *pending.newest, optimizer_, head));
  RETURN_IF_ERROR(MakeNextAdapter(layout_, mean, step, head, *next));
  RETURN_IF_ERROR(next->Finish());
  pending.adapter = next->adapter();
  pending.optimizer = next->state();
  pending.next = std::move(next);
  return absl::OkStatus();
}

void RunDriver::StoreRelease(const std::shared_ptr<PendingRelease>& pending) {
  NewRelease release;
  release.record = {.summary = pending->effect.summary,
                    .adapter = pending->adapter->digest(),
                    .started_at = pending->started_at,
                    .ended_at = around_.clock.Now()};
  if (const auto work = pending->effect.oldest_work) release.oldest_wanted = *work - 1;
  release.contributions = pending->contributions;
  release.adapter = pending->adapter->bytes();
  release.optimizer_state = pending->optimizer.blob.bytes();
  if (pending->next != nullptr) pending->next->Fill(release);
  {
    const std::lock_guard lock(mutex_);
    release.traffic = record_.traffic;
  }
  const absl::Status stored = around_.store.SaveRelease(id(), release);
  if (MayPass(stored)) return TryAgainLater(pending, stored);
  if (!stored.ok()) return Receive(ReleaseFailed{std::string(Message(stored))});
  Publish(*pending, release.record);
}

void RunDriver::TryAgainLater(const std::shared_ptr<PendingRelease>& pending,
                              const absl::Status& why) {
  if (!std::exchange(pending->waits, true)) {
    Warn("the run waits until its release can be stored", why);
  }
  {
    const std::lock_guard lock(mutex_);
    StandStillForTheStore(why);
  }
  if (pending->next != nullptr && !pending->next->can_be_kept()) pending->next.reset();
  OnceTheStoreHasRested([this, pending] {
    const bool is_made = pending->next != nullptr || pending->effect.unchanged;
    is_made ? StoreRelease(pending) : MakeNext(pending);
  });
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
  optimizer_ = pending.optimizer;
  record_.adapter = record.adapter;
  record_.rounds_done = record.summary.round + 1;
  last_release_ = record;
  if (!record.summary.burnt.empty()) {
    around_.log.Warning("round burnt: it is over, and the adapter is as it was",
                        {Field("run", id().value), Field("round", record.summary.round + 1),
                         Field("why", record.summary.burnt)});
  }
  around_.log.Info("round released",
                   {Field("run", id().value), Field("round", record.summary.round + 1),
                    Field("contributions", record.summary.contributions),
                    Field("loss", fmt::format("{:.4f}", record.summary.training_loss)),
                    Field("adapter", record.adapter.ToHex().substr(0, 12))});
  ReceiveLocked(Released{
      .round = record.summary.round, .adapter = record.adapter, .counted = record.summary});
}

}  // namespace fedtune
