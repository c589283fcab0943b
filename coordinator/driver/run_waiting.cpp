// SPDX-License-Identifier: Apache-2.0

// How a run's time passes: by its timer, and not while the disk takes nothing.

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "coordinator/driver/run_driver.h"

namespace fedtune {
namespace {

// Longer than a client waits before it offers again what could not be kept.
constexpr absl::Duration kOffersAgain = absl::Seconds(15);

// An upload that takes longer is a trouble of its own.
constexpr absl::Duration kLongestUpload = absl::Minutes(10);

}  // namespace

void RunDriver::ArmTimer() {
  const std::optional<absl::Duration> due = run_->deadline();
  if (!due.has_value() || (armed_.has_value() && *armed_ <= *due)) return;
  armed_ = due;
  around_.timers.At(run_clock_.WhenItIs(*due), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Tick();
  });
}

void RunDriver::Tick() {
  const std::lock_guard lock(mutex_);
  armed_.reset();
  const absl::Duration now = Now();
  if (run_->deadline().has_value() && *run_->deadline() <= now) journal_.Note(now, TimeIsUp{});
  Follow(run_->Tick(now), now);
}

void RunDriver::OnceTheStoreHasRested(std::function<void()> then) {
  around_.timers.After(around_.store_again, [self = shared_from_this(), then = std::move(then)] {
    self->around_.work.Add([self, then] { then(); });
  });
}

// What nobody can do anything about costs nobody a round.
void RunDriver::StandStill(absl::Duration span, const absl::Status& why) {
  run_clock_.StandStill(around_.clock.Monotonic(), span);
  why_it_stands_still_ = Message(why);
  watchers_->Notify();
  if (!std::exchange(tells_when_it_goes_on_, true)) TellWhenItGoesOn();
}

void RunDriver::TellWhenItGoesOn() {
  const absl::Duration rest = run_clock_.Rest(around_.clock.Monotonic());
  around_.timers.After(rest, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    const std::lock_guard lock(self->mutex_);
    if (self->run_clock_.StandsStill(self->around_.clock.Monotonic())) {
      return self->TellWhenItGoesOn();
    }
    self->tells_when_it_goes_on_ = false;
    self->watchers_->Notify();
  });
}

void RunDriver::StandStillForTheStore(const absl::Status& why) {
  StandStill(around_.store_again + kOffersAgain, why);
}

bool RunDriver::CouldNotKeep(const Institution& from, const ContributionHeader& header,
                             absl::Duration took, const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return false;
  const absl::StatusOr<Admission> admission = run_->CheckContribution(from, header);
  if (!admission.ok() || admission->repeated) return false;
  StandStill(kOffersAgain + std::min(took, kLongestUpload), why);
  return true;
}

RunOverview RunDriver::overview() const {
  const std::lock_guard lock(mutex_);
  RunOverview overview;
  overview.record = record_;
  overview.last_release = last_release_;
  if (!run_.has_value()) return overview;
  overview.view = run_->view();
  if (overview.view.deadline.has_value()) {
    overview.time_left = std::max(*overview.view.deadline - Now(), absl::ZeroDuration());
  }
  const bool waits = run_clock_.StandsStill(around_.clock.Monotonic());
  if (waits && overview.view.reason.empty()) overview.view.reason = why_it_stands_still_;
  return overview;
}

}  // namespace fedtune
