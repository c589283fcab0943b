// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aggregation/weighted_sum.h"
#include "base/status_macros.h"
#include "coordinator/driver/contributions/contribution_buffer.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// What one attempt of a round has gathered: the sum, and who is in it. Not
// thread-safe.
class RoundSum {
 public:
  RoundSum(const AdapterLayout& layout, FactorSet factors, absl::Time started_at)
      : sum_(layout, factors), started_at_(started_at) {}

  // As WeightedSum::CanAdd().
  absl::Status CanAdd(const VerifiedValues& delta, int64_t weight) const {
    return sum_.CanAdd(delta.range, weight);
  }

  // Errors as WeightedSum::Add(); nothing has changed then.
  absl::Status Add(VerifiedValues delta, ContributionRecord contribution) {
    RETURN_IF_ERROR(sum_.Add(delta.values, delta.range, contribution.weight));
    values_.push_back(std::move(delta.values));
    contributions_.push_back(std::move(contribution));
    return absl::OkStatus();
  }

  // Takes out what cannot be read any more, and its files from the spool. Whose it was.
  std::vector<Institution> TakeOutLost() {
    std::vector<Institution> lost;
    const std::vector<size_t> unreadable = sum_.Unreadable();
    for (auto index = unreadable.rbegin(); index != unreadable.rend(); ++index) {
      lost.push_back(TakeOut(*index));
    }
    return lost;
  }

  // The same with this one alone, if it is in the sum.
  std::vector<Institution> TakeOut(const SpooledValues& lost) {
    const auto is_it = [&](const auto& values) { return values.get() == &lost; };
    const auto found = std::find_if(values_.begin(), values_.end(), is_it);
    if (found == values_.end()) return {};
    return {TakeOut(static_cast<size_t>(found - values_.begin()))};
  }

  const WeightedSum& sum() const { return sum_; }
  const std::vector<ContributionRecord>& contributions() const { return contributions_; }
  absl::Time started_at() const { return started_at_; }

 private:
  Institution TakeOut(size_t index) {
    const auto place = static_cast<std::ptrdiff_t>(index);
    Institution from = std::move(contributions_[index].institution);
    sum_.Remove(index);
    values_[index]->bytes().Remove();
    values_.erase(values_.begin() + place);
    contributions_.erase(contributions_.begin() + place);
    return from;
  }

  WeightedSum sum_;
  std::vector<std::shared_ptr<SpooledValues>> values_;
  std::vector<ContributionRecord> contributions_;
  absl::Time started_at_;
};

}  // namespace fedtune
