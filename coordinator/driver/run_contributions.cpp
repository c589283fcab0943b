// SPDX-License-Identifier: Apache-2.0

// How a run takes contributions: kept in the spool and in the journal before they
// are acknowledged.

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/run_driver.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<Admission> RunDriver::CheckContribution(const Institution& from,
                                                       const ContributionHeader& header) const {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return absl::FailedPreconditionError("the run has not begun");
  return run_->CheckContribution(from, header);
}

absl::StatusOr<Admission> RunDriver::TakeContribution(const Institution& from,
                                                      const ContributionHeader& header,
                                                      VerifiedValues delta) {
  ASSIGN_OR_RETURN(const Admission before, CheckContribution(from, header));
  if (before.repeated) return before;
  RETURN_IF_ERROR(delta.values->bytes().Keep());
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(from, header));
  if (admission.repeated) return admission;
  if (admission.late) RETURN_IF_ERROR(CheckIsThere(header, *delta.values));
  if (sum_.has_value()) RETURN_IF_ERROR(sum_->CanAdd(delta, admission.weight));
  const absl::Duration now = Now();
  RETURN_IF_ERROR(StoreTaken(from, header, delta.values->bytes().name(), now));
  if (sum_.has_value()) {
    RETURN_IF_ERROR(sum_->Add(std::move(delta), RecordOf(from, header, admission)));
  }
  record_.traffic.bytes_received += header.size_bytes;
  Follow(run_->Receive(from, ContributionTaken{header}, now), now);
  return admission;
}

absl::StatusOr<Admission> RunDriver::TakeMaskedInput(const Institution& from,
                                                     const ContributionHeader& header,
                                                     MaskedInput& input) {
  ASSIGN_OR_RETURN(const Admission before, CheckContribution(from, header));
  if (before.repeated) return before;
  RETURN_IF_ERROR(input.bytes().Keep());
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const Admission admission, run_->CheckContribution(from, header));
  if (admission.repeated) return admission;
  Check(masked_sum_.has_value(), "a masked input is for an open aggregation");
  const absl::Duration now = Now();
  RETURN_IF_ERROR(StoreTaken(from, header, input.bytes().name(), now));
  const absl::Status added =
      masked_sum_->Add(input, {.institution = from, .sha256 = header.sha256, .metrics = {}});
  record_.traffic.bytes_received += header.size_bytes;
  Follow(run_->Receive(from, ContributionTaken{header}, now), now);
  // Part of it may be in the sum: nothing can be made of it.
  if (!added.ok()) ReceiveLocked(ReleaseFailed{std::string(Message(added))});
  return admission;
}

// While it was being kept, another round may have opened and removed it.
absl::Status RunDriver::CheckIsThere(const ContributionHeader& header,
                                     SpooledValues& values) const {
  if (header.size_bytes == 0) return absl::OkStatus();
  const absl::Status found = around_.spool.Find(values.bytes().name(), header.size_bytes).status();
  return found.ok() ? found : absl::UnavailableError("a round has opened meanwhile");
}

// What is acknowledged is stored.
absl::Status RunDriver::StoreTaken(const Institution& from, const ContributionHeader& header,
                                   std::string spool_file, absl::Duration now) {
  if (store_refuses_) return absl::UnavailableError("the round's journal cannot be stored now");
  journal_.Note(now, ReceivedFromClient{from, ContributionTaken{header}}, std::move(spool_file));
  const absl::Status stored = journal_.Store(around_.store, id());
  if (stored.ok()) return stored;
  journal_.Forget();
  return absl::UnavailableError(fmt::format("{}", Message(stored)));
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
