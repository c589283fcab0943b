// SPDX-License-Identifier: Apache-2.0

#include "client/round/secure_desk.h"

#include <algorithm>

#include "base/status_macros.h"

namespace fedtune {

// Null: it is not open in this process.
absl::StatusOr<SecureSubmission*> SecureDesk::FindOpen(const SecureRoundWork& work) {
  const auto found = open_.find(work.assignment.id.run);
  if (found == open_.end()) return nullptr;
  ASSIGN_OR_RETURN(const SessionParameters parameters, ParametersOf(work));
  return found->second.id() == SessionId(parameters) ? &found->second : nullptr;
}

SecureDesk::Outcome SecureDesk::Submit(const SecureRoundWork& work,
                                       std::shared_ptr<const Contribution> contribution,
                                       CoordinatorLink& link, std::stop_token stop) {
  absl::StatusOr<SecureSubmission*> submission = FindOpen(work);
  if (submission.ok() && *submission == nullptr) {
    absl::StatusOr<SecureSubmission> begun = SecureSubmission::Begin(work, journal_);
    if (!begun.ok()) return begun.status();
    submission = &open_.insert_or_assign(work.assignment.id.run, *std::move(begun)).first->second;
  }
  if (!submission.ok()) return submission.status();
  (*submission)->Offer(std::move(contribution));
  return OutcomeOf(**submission, (*submission)->Continue(link, std::move(stop)));
}

SecureDesk::Outcome SecureDesk::Answer(const SecureRoundWork& work,
                                       std::shared_ptr<const Contribution> contribution,
                                       ByteSpan message, CoordinatorLink& link,
                                       std::stop_token stop) {
  absl::StatusOr<SecureSubmission*> submission = FindOpen(work);
  if (submission.ok() && *submission == nullptr) {
    absl::StatusOr<std::optional<SecureSubmission>> resumed =
        SecureSubmission::Resume(work, journal_);
    if (!resumed.ok()) return resumed.status();
    if (!resumed->has_value()) return std::nullopt;
    submission =
        &open_.insert_or_assign(work.assignment.id.run, **std::move(resumed)).first->second;
  }
  if (!submission.ok()) return submission.status();
  if (contribution != nullptr) (*submission)->Offer(std::move(contribution));
  return OutcomeOf(**submission, (*submission)->Receive(message, link, std::move(stop)));
}

absl::Status SecureDesk::End(const std::string& run) {
  open_.erase(run);
  return journal_.CloseRun(run);
}

absl::Status SecureDesk::EndAllBut(const std::vector<std::string>& runs) {
  std::erase_if(open_, [&runs](const auto& entry) {
    return std::find(runs.begin(), runs.end(), entry.first) == runs.end();
  });
  return journal_.CloseAllBut(runs);
}

SecureDesk::Outcome SecureDesk::OutcomeOf(const SecureSubmission& submission,
                                          const absl::Status& status) {
  if (!status.ok() || submission.finished()) return status;
  return std::nullopt;
}

}  // namespace fedtune
