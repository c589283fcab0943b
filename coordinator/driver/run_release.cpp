// SPDX-License-Identifier: Apache-2.0

// From a complete round to the next one: what a run does about its pending release.

#include <memory>
#include <utility>
#include <variant>

#include "base/overloaded.h"
#include "coordinator/driver/release/pending_release.h"
#include "coordinator/driver/run_driver.h"

namespace fedtune {

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
  const auto traffic = [this] {
    const std::lock_guard lock(mutex_);
    return record_.traffic;
  };
  PendingRelease::Outcome outcome = pending->Complete(traffic, around_.clock);
  std::visit(
      Overloaded{[&](const ReleaseRecord& stored) { Publish(*pending, stored); },
                 [&](Released& counted) { Receive(std::move(counted)); },
                 [&](const PendingRelease::StoreRefuses& refuses) {
                   TryAgainLater(pending, again, refuses.why);
                 },
                 [&](PendingRelease::LostSome& lost) { AskAgain(*pending, std::move(lost)); },
                 [&](ReleaseFailed& failed) { Receive(std::move(failed)); }},
      outcome);
}

void RunDriver::TryAgainLater(const std::shared_ptr<PendingRelease>& pending, bool again,
                              const absl::Status& why) {
  if (!again) log_.Warn("the run waits until its release can be stored", why);
  StandStillForTheStore(why);
  OnceTheStoreHasRested([this, pending] { MakeRelease(pending, true); });
}

// What the disk has lost is asked for again.
void RunDriver::AskAgain(PendingRelease& pending, PendingRelease::LostSome lost) {
  log_.Lost(lost.from, lost.why);
  const std::lock_guard lock(mutex_);
  contributions_.Open(pending.TakeSum());
  ReceiveLocked(ContributionsLost{std::move(lost.from)});
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
