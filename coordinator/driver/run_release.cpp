// SPDX-License-Identifier: Apache-2.0

// From a complete round to the next one: what a run does about its pending release.

#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "coordinator/driver/release/pending_release.h"
#include "coordinator/driver/run_driver.h"

namespace fedtune {
namespace {

// Whether the store may take later what it does not take now.
bool MayPass(const absl::Status& stored) {
  return absl::IsResourceExhausted(stored) || absl::IsUnavailable(stored);
}

}  // namespace

void RunDriver::CarryOut(const Release& effect) {
  const PendingRelease::Setting setting{.run = id(),
                                        .plan = plan_,
                                        .layout = layout_,
                                        .experts = routing_.experts,
                                        .store = around_.store};
  auto pending = std::make_shared<PendingRelease>(
      setting, PendingRelease::Parts{.effect = effect,
                                     .sum = contributions_.TakeSum(),
                                     .newest = adapter_,
                                     .optimizer = optimizer_,
                                     .wanted_at = around_.clock.Now()});
  around_.work.Add([self = shared_from_this(), pending] { self->MakeRelease(pending, false); });
}

void RunDriver::MakeRelease(const std::shared_ptr<PendingRelease>& pending, bool again) {
  const absl::Status made = pending->Make();
  if (MayPass(made)) return TryAgainLater(pending, again, made);
  if (!made.ok()) return GiveUp(*pending, made);
  const Release& effect = pending->effect();
  if (pending->only_counts()) {
    return Receive(Released{
        .round = effect.summary.round, .adapter = effect.incoming, .counted = effect.summary});
  }
  Traffic traffic;
  {
    const std::lock_guard lock(mutex_);
    traffic = record_.traffic;
  }
  const absl::StatusOr<ReleaseRecord> stored = pending->Store(traffic, around_.clock.Now());
  if (MayPass(stored.status())) return TryAgainLater(pending, again, stored.status());
  if (!stored.ok()) return Receive(ReleaseFailed{std::string(Message(stored.status()))});
  Publish(*pending, *stored);
}

void RunDriver::TryAgainLater(const std::shared_ptr<PendingRelease>& pending, bool again,
                              const absl::Status& why) {
  if (!again) log_.Warn("the run waits until its release can be stored", why);
  StandStillForTheStore(why);
  OnceTheStoreHasRested([this, pending] { MakeRelease(pending, true); });
}

// What the disk has lost is asked for again.
void RunDriver::GiveUp(PendingRelease& pending, const absl::Status& why) {
  std::vector<Institution> lost = pending.TakeOutLost();
  if (lost.empty()) {
    return Receive(ReleaseFailed{.reason = std::string(Message(why)),
                                 .is_impossible_sum = absl::IsOutOfRange(why)});
  }
  log_.Lost(lost, why);
  const std::lock_guard lock(mutex_);
  contributions_.Open(pending.TakeSum());
  ReceiveLocked(ContributionsLost{std::move(lost)});
}

void RunDriver::Publish(const PendingRelease& pending, const ReleaseRecord& record) {
  const std::lock_guard lock(mutex_);
  journal_.Close();
  adapter_ = pending.adapter();
  optimizer_ = pending.optimizer();
  record_.adapter = record.adapter;
  record_.rounds_done = record.summary.round + 1;
  last_release_ = record;
  log_.Released(record);
  ReceiveLocked(Released{
      .round = record.summary.round, .adapter = record.adapter, .counted = record.summary});
}

}  // namespace fedtune
