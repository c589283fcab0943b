// SPDX-License-Identifier: Apache-2.0

// How a run takes contributions: kept in the spool and in the journal before they
// are acknowledged, those that come at the same time together.

#include <cmath>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// In one transaction: others wait for it.
constexpr size_t kMostTogether = 64;

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
    if (handed->outcome.has_value()) continue;
    const std::lock_guard lock(queue_mutex_);
    queue_.push_back(handed);
  }
  const std::lock_guard lock(mutex_);
  for (const HandedIn* handed : handed_in) {
    while (!handed->outcome.has_value()) TakeTogether(NextTogether());
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
  {
    const std::lock_guard lock(arrived_mutex_);
    arrived_.push_back(&handed);
    if (std::exchange(takes_arrived_, true)) return;
  }
  around_.work.Add([self = shared_from_this()] { self->TakeArrived(); });
}

void RunDriver::TakeArrived() {
  while (true) {
    std::vector<HandedIn*> arrived;
    {
      const std::lock_guard lock(arrived_mutex_);
      arrived.swap(arrived_);
      takes_arrived_ = !arrived.empty();
    }
    if (arrived.empty()) return;
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

// One of each client at most: whether there may be another depends on the first.
std::vector<HandedIn*> RunDriver::NextTogether() {
  const std::lock_guard lock(queue_mutex_);
  std::vector<HandedIn*> together;
  std::set<Institution> clients;
  std::deque<HandedIn*> left;
  for (HandedIn* handed : queue_) {
    const bool joins = together.size() < kMostTogether && clients.insert(handed->from).second;
    (joins ? together.push_back(handed) : left.push_back(handed));
  }
  queue_.swap(left);
  return together;
}

// Those that may be taken are stored in one transaction, then counted one by one.
void RunDriver::TakeTogether(std::vector<HandedIn*> together) {
  int64_t weight = 0;
  const VerifiedValues* largest = nullptr;
  std::erase_if(together, [&](HandedIn* handed) {
    absl::StatusOr<Admission> admission = Admit(*handed);
    if (!admission.ok() || admission->repeated) {
      handed->outcome = std::move(admission);
      return true;
    }
    if (HasRoomBeside(*handed, admission->weight, largest, weight)) return false;
    const std::lock_guard lock(queue_mutex_);
    queue_.push_back(handed);
    return true;
  });
  if (together.empty()) return;
  const absl::Duration now = Now();
  const absl::Status stored = StoreTaken(together, now);
  for (HandedIn* handed : together) {
    handed->outcome = stored.ok() ? Count(*handed, now) : absl::StatusOr<Admission>(stored);
  }
}

absl::StatusOr<Admission> RunDriver::Admit(HandedIn& handed) const {
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(handed.from, handed.header));
  if (admission.repeated) return admission;
  const auto* delta = std::get_if<VerifiedValues>(&handed.what);
  Check(delta != nullptr || masked_sum_.has_value(), "a masked input is for an open aggregation");
  if (delta == nullptr) return admission;
  if (admission.late) RETURN_IF_ERROR(CheckIsThere(handed.bytes()));
  if (sum_.has_value()) RETURN_IF_ERROR(sum_->CanAdd(*delta, admission.weight));
  return admission;
}

// Whether the sum takes this one with those before it, of which `largest` has the
// largest value and `weight` is the sum: it does if it takes all at that value. The
// first one always has room.
bool RunDriver::HasRoomBeside(const HandedIn& handed, int64_t its_weight,
                              const VerifiedValues*& largest, int64_t& weight) const {
  const auto* delta = std::get_if<VerifiedValues>(&handed.what);
  if (delta == nullptr || !sum_.has_value()) return true;
  const bool larger =
      largest == nullptr || std::abs(delta->range.extreme()) > std::abs(largest->range.extreme());
  const VerifiedValues& most = larger ? *delta : *largest;
  if (!sum_->CanAdd(most, weight + its_weight).ok()) return false;
  largest = &most;
  weight += its_weight;
  return true;
}

// While it was being kept, another round may have opened and removed it.
absl::Status RunDriver::CheckIsThere(const SpooledBytes& bytes) const {
  if (bytes.name().empty()) return absl::OkStatus();
  const absl::Status found = around_.spool.Find(bytes.name(), bytes.size()).status();
  return found.ok() ? found : absl::AbortedError("a round has opened meanwhile");
}

// What is acknowledged is stored.
absl::Status RunDriver::StoreTaken(std::span<HandedIn* const> together, absl::Duration now) {
  if (store_refuses_) return absl::UnavailableError("the round's journal cannot be stored now");
  std::vector<SpooledBytes*> bytes;
  bytes.reserve(together.size());
  for (HandedIn* handed : together) bytes.push_back(&handed->bytes());
  RETURN_IF_ERROR(SpooledBytes::KeepTogether(pack_, bytes));
  for (HandedIn* handed : together) {
    journal_.Note(now, ReceivedFromClient{handed->from, ContributionTaken{handed->header}},
                  handed->bytes().name(), handed->content());
  }
  absl::Status stored = journal_.Store(around_.store, id());
  if (stored.ok()) return stored;
  journal_.Forget(together.size());
  return absl::UnavailableError(fmt::format("{}", Message(stored)));
}

// One that was stored with it may have closed the round. Then it does not count, and
// does not when the journal is gone through again (Run::Replay()).
absl::StatusOr<Admission> RunDriver::Count(HandedIn& handed, absl::Duration now) {
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(handed.from, handed.header));
  ContributionRecord record = RecordOf(handed.from, handed.header, admission);
  if (auto* masked = std::get_if<std::shared_ptr<MaskedElements>>(&handed.what)) {
    record.metrics = {};
    masked_sum_->Add(*masked, std::move(record));
  } else if (sum_.has_value()) {
    const absl::Status fits =
        sum_->Add(std::get<VerifiedValues>(std::move(handed.what)), std::move(record));
    Check(fits.ok(), Message(fits));
  }
  record_.traffic.bytes_received += handed.header.size_bytes;
  Follow(run_->Receive(handed.from, ContributionTaken{handed.header}, now), now);
  return admission;
}

ContributionRecord RunDriver::RecordOf(const Institution& from, const ContributionHeader& header,
                                       const Admission& admission) const {
  return {.institution = from,
          .sha256 = header.sha256,
          .weight = admission.weight,
          .example_count = admission.example_count,
          .metrics = header.metrics};
}

}  // namespace fedtune
