// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/attempt_contributions.h"

#include <cmath>
#include <memory>

#include "base/check.h"
#include "base/status_macros.h"

namespace fedtune {
namespace {

std::vector<SpooledBytes*> BytesOf(std::span<HandedIn* const> together) {
  std::vector<SpooledBytes*> bytes;
  bytes.reserve(together.size());
  for (HandedIn* handed : together) bytes.push_back(&handed->bytes());
  return bytes;
}

}  // namespace

std::function<void()> AttemptContributions::Forget() {
  sum_ = std::monostate{};
  return pack_.Clear();
}

void AttemptContributions::Close() {
  pack_.Close();
  sum_ = std::monostate{};
}

absl::Status AttemptContributions::CheckCanAdd(const HandedIn& handed,
                                               const Admission& admission) const {
  const auto* delta = std::get_if<VerifiedValues>(&handed.what);
  Check(delta != nullptr || std::holds_alternative<MaskedSum>(sum_),
        "a masked input is for an open aggregation");
  RETURN_IF_ERROR(handed.bytes().CheckCanKeep(pack_));
  if (delta == nullptr) return absl::OkStatus();
  if (admission.late) RETURN_IF_ERROR(CheckIsThere(delta->values->bytes()));
  const auto* sum = std::get_if<RoundSum>(&sum_);
  return sum == nullptr ? absl::OkStatus() : sum->CanAdd(*delta, admission.weight);
}

// While it was being kept, another round may have opened and removed it.
absl::Status AttemptContributions::CheckIsThere(const SpooledBytes& bytes) const {
  if (bytes.name().empty()) return absl::OkStatus();
  const absl::Status found = pack_.spool().Find(bytes.name(), bytes.size()).status();
  return found.ok() ? found : absl::AbortedError("a round has opened meanwhile");
}

bool AttemptContributions::Together::Join(const HandedIn& handed, int64_t weight) {
  const auto* delta = std::get_if<VerifiedValues>(&handed.what);
  if (delta == nullptr || sum_ == nullptr) return true;
  const bool is_larger =
      largest_ == nullptr || std::abs(delta->range.extreme()) > std::abs(largest_->range.extreme());
  const VerifiedValues& largest = is_larger ? *delta : *largest_;
  if (!sum_->CanAdd(largest, weight_ + weight).ok()) return false;
  largest_ = &largest;
  weight_ += weight;
  return true;
}

absl::Status AttemptContributions::Keep(std::span<HandedIn* const> together) {
  return SpooledBytes::KeepTogether(pack_, BytesOf(together));
}

void AttemptContributions::Unkeep(std::span<HandedIn* const> together) {
  SpooledBytes::UnkeepTogether(BytesOf(together));
}

// The metrics of a masked input are in the sum.
absl::Status AttemptContributions::Add(ContributionBody body, ContributionRecord record) {
  if (auto* input = std::get_if<std::shared_ptr<MaskedElements>>(&body)) {
    record.metrics = {};
    std::get<MaskedSum>(sum_).Add(std::move(*input), std::move(record));
    return absl::OkStatus();
  }
  auto* sum = std::get_if<RoundSum>(&sum_);
  if (sum == nullptr) return absl::OkStatus();
  return sum->Add(std::get<VerifiedValues>(std::move(body)), std::move(record));
}

std::vector<Institution> AttemptContributions::TakeOut(const SpooledValues& lost) {
  auto* sum = std::get_if<RoundSum>(&sum_);
  return sum == nullptr ? std::vector<Institution>{} : sum->TakeOut(lost);
}

bool AttemptContributions::Has(const MaskedElements& input) const {
  const auto* sum = std::get_if<MaskedSum>(&sum_);
  return sum != nullptr && sum->Has(input);
}

}  // namespace fedtune
