// SPDX-License-Identifier: Apache-2.0

// How a run takes contributions: kept in the spool and in the journal before they are
// acknowledged, those that come at the same time together. How those that an earlier
// process took count again, and what becomes of them if the disk has lost them.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

ContributionRecord RecordOf(const Institution& from, const ContributionHeader& header,
                            const Admission& admission) {
  return {.institution = from,
          .sha256 = header.sha256,
          .weight = admission.weight,
          .example_count = admission.example_count,
          .metrics = header.metrics};
}

// Whether all of it can be read.
absl::Status CheckIsWhole(const ContributionBody& body) {
  if (const auto* delta = std::get_if<VerifiedValues>(&body)) return delta->values->Check();
  return std::get<std::shared_ptr<MaskedElements>>(body)->Check();
}

}  // namespace

absl::StatusOr<Admission> RunDriver::CheckContribution(const Institution& from,
                                                       const ContributionHeader& header) const {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return absl::FailedPreconditionError("the run has not begun");
  return run_->CheckContribution(from, header);
}

// Whoever has the lock takes along all that have come while it was waiting for it.
void RunDriver::Take(std::span<HandedIn* const> handed_in) {
  for (HandedIn* handed : handed_in) {
    handed->outcome = BringIn(*handed);
    if (!handed->outcome.has_value()) queue_.Add(*handed);
  }
  const std::lock_guard lock(mutex_);
  for (const HandedIn* handed : handed_in) {
    while (!handed->outcome.has_value()) TakeTogether(queue_.NextTogether());
  }
}

void RunDriver::TakeLater(HandedIn& handed) {
  if (handed.bytes().is_small()) return Arrive(handed);
  around_.work.Add([self = shared_from_this(), large = &handed] {
    large->outcome = self->BringIn(*large);
    if (!large->outcome.has_value()) return self->Arrive(*large);
    std::exchange(large->decided, nullptr)();
  });
}

// What comes while others are being stored waits for the next transaction.
void RunDriver::Arrive(HandedIn& handed) {
  if (!arrivals_.Add(handed)) return;
  around_.work.Add([self = shared_from_this()] { self->TakeArrived(); });
}

void RunDriver::TakeArrived() {
  std::vector<HandedIn*> arrived = arrivals_.Next();
  for (; !arrived.empty(); arrived = arrivals_.Next()) {
    Take(arrived);
    // What was handed in may go with its call.
    for (HandedIn* handed : arrived) std::exchange(handed->decided, nullptr)();
  }
}

// Large ones reach the disk side by side. None: it is to be taken with others.
std::optional<absl::StatusOr<Admission>> RunDriver::BringIn(HandedIn& handed) const {
  absl::StatusOr<Admission> admission = CheckContribution(handed.from, handed.header);
  if (!admission.ok() || admission->repeated) return admission;
  if (handed.bytes().is_small()) return std::nullopt;
  const absl::Status kept = handed.bytes().Keep();
  return kept.ok() ? std::nullopt : std::optional<absl::StatusOr<Admission>>(kept);
}

// Those that may be taken are stored in one transaction, then counted one by one.
void RunDriver::TakeTogether(std::vector<HandedIn*> together) {
  AttemptContributions::Together room(contributions_);
  std::erase_if(together, [&](HandedIn* handed) {
    absl::StatusOr<Admission> admission = Admit(*handed);
    if (!admission.ok() || admission->repeated) {
      handed->outcome = std::move(admission);
      return true;
    }
    if (room.Join(*handed, admission->weight)) return false;
    queue_.Add(*handed);
    return true;
  });
  if (together.empty()) return;
  const absl::Duration now = time_->Now();
  const absl::Status stored = StoreTaken(together, now);
  for (HandedIn* handed : together) {
    handed->outcome = stored.ok() ? Count(*handed, now) : absl::StatusOr<Admission>(stored);
  }
}

absl::StatusOr<Admission> RunDriver::Admit(const HandedIn& handed) const {
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(handed.from, handed.header));
  if (!admission.repeated) RETURN_IF_ERROR(contributions_.CheckCanAdd(handed, admission));
  return admission;
}

// What is acknowledged is stored.
absl::Status RunDriver::StoreTaken(std::span<HandedIn* const> together, absl::Duration now) {
  if (store_refuses_) return absl::UnavailableError("the round's journal cannot be stored now");
  RETURN_IF_ERROR(contributions_.Keep(together));
  for (HandedIn* handed : together) {
    journal_.Note(now, ReceivedFromClient{handed->from, ContributionTaken{handed->header}},
                  handed->bytes().name(), handed->content());
  }
  absl::Status stored = journal_.Store(around_.store, id());
  if (stored.ok()) return stored;
  journal_.Forget(together.size());
  AttemptContributions::Unkeep(together);
  return absl::UnavailableError(fmt::format("{}", Message(stored)));
}

// One that was stored with it may have closed the round. Then it does not count, and
// does not when the journal is gone through again (Run::Replay()).
absl::StatusOr<Admission> RunDriver::Count(HandedIn& handed, absl::Duration now) {
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(handed.from, handed.header));
  const absl::Status added =
      contributions_.Add(std::move(handed.what), RecordOf(handed.from, handed.header, admission));
  Check(added.ok(), Message(added));
  record_.traffic.bytes_received += handed.header.size_bytes;
  Follow(run_->Receive(handed.from, ContributionTaken{handed.header}, now), now);
  return admission;
}

// Once the sum of the attempt is there. All have been added before, in this order. What
// lies on the disk is checked later: the coordinator serves meanwhile.
void RunDriver::AddRestored() {
  for (RestoredContribution& restored : std::exchange(restored_, {})) {
    const auto admission = run_->CheckContribution(restored.from, restored.header);
    if (!admission.ok() || !admission->repeated) continue;
    const absl::Status added =
        contributions_.Add(restored.body, RecordOf(restored.from, restored.header, *admission));
    if (added.ok()) {
      unchecked_.push_back(std::move(restored.body));
      continue;
    }
    around_.work.Add([self = shared_from_this(), why = std::string(Message(added))] {
      self->Receive(ReleaseFailed{why});
    });
  }
  CheckNextRestored();
}

// One after the other, and other work between.
void RunDriver::CheckNextRestored() {
  if (unchecked_.empty()) return;
  around_.work.Add([self = shared_from_this(), body = std::move(unchecked_.front())] {
    const absl::Status whole = CheckIsWhole(body);
    const std::lock_guard lock(self->mutex_);
    if (!whole.ok()) self->Lose(body, whole);
    self->CheckNextRestored();
  });
  unchecked_.pop_front();
}

// If it is in no sum any more, or will soon be in none, whoever makes the release finds it.
void RunDriver::Lose(const ContributionBody& body, const absl::Status& why) {
  const bool is_due = std::any_of(outbox_.begin(), outbox_.end(), [](const Effect& effect) {
    return std::holds_alternative<Release>(effect);
  });
  if (is_due) return;
  if (const auto* delta = std::get_if<VerifiedValues>(&body)) {
    std::vector<Institution> lost = contributions_.TakeOut(*delta->values);
    if (lost.empty()) return;
    log_.Lost(lost, why);
    return ReceiveLocked(ContributionsLost{std::move(lost)});
  }
  if (!contributions_.Has(*std::get<std::shared_ptr<MaskedElements>>(body))) return;
  log_.Warn("a contribution that had been taken is lost", why);
  ReceiveLocked(ReleaseFailed{std::string(Message(why))});
}

}  // namespace fedtune
