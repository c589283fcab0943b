// SPDX-License-Identifier: Apache-2.0

// How a run waits: for its deadlines, and for the disk.

#include <algorithm>
#include <optional>
#include <utility>

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
  around_.timers.At(time_->WhenItIs(*due), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Tick();
  });
}

void RunDriver::Tick() {
  const std::lock_guard lock(mutex_);
  armed_.reset();
  const absl::Duration now = time_->Now();
  if (run_->deadline().has_value() && *run_->deadline() <= now) journal_.Note(now, TimeIsUp{});
  Follow(run_->Tick(now), now);
}

void RunDriver::StandStillForTheStore(const absl::Status& why) {
  time_->StandStill(around_.store_again + kOffersAgain, why);
}

void RunDriver::OnceTheStoreHasRested(std::function<void()> then) {
  around_.timers.After(around_.store_again, [self = shared_from_this(), then = std::move(then)] {
    self->around_.work.Add([self, then] { then(); });
  });
}

bool RunDriver::CouldNotKeep(const Institution& from, const ContributionHeader& header,
                             absl::Duration took, const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return false;
  const absl::StatusOr<Admission> admission = run_->CheckContribution(from, header);
  if (!admission.ok() || admission->repeated) return false;
  time_->StandStill(kOffersAgain + std::min(took, kLongestUpload), why);
  return true;
}

}  // namespace fedtune
