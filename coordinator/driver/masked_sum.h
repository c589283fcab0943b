// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aggregation/masked_layout.h"
#include "base/status_macros.h"
#include "coordinator/driver/masked_input.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// What one attempt of a secure round has gathered: the sum of the masked vectors,
// and whose they are. Not thread-safe.
class MaskedSum {
 public:
  MaskedSum(MaskedLayout layout, absl::Time started_at)
      : layout_(std::move(layout)),
        elements_(static_cast<size_t>(layout_.element_count())),
        started_at_(started_at) {}

  // Errors: of where the input lies; the sum is of no use then.
  absl::Status Add(const MaskedInput& input, ContributionRecord contribution) {
    RETURN_IF_ERROR(input.AddTo(elements_));
    contributions_.push_back(std::move(contribution));
    return absl::OkStatus();
  }

  // One that another process had added, which is in the sum after AddRestored().
  void Restore(std::shared_ptr<const MaskedInput> input, ContributionHeader header,
               ContributionRecord contribution) {
    restored_.push_back({std::move(input), std::move(header)});
    contributions_.push_back(std::move(contribution));
  }

  // Whether it is one of them.
  bool Restored(const MaskedInput& input) const {
    return std::any_of(restored_.begin(), restored_.end(),
                       [&](const auto& restored) { return restored.input.get() == &input; });
  }

  // Checks and adds them. Errors as MaskedInput::Check(); the sum is of no use then.
  absl::Status AddRestored() {
    for (const RestoredInput& restored : std::exchange(restored_, {})) {
      RETURN_IF_ERROR(restored.input->Check(restored.header));
      RETURN_IF_ERROR(restored.input->AddTo(elements_));
    }
    return absl::OkStatus();
  }

  const MaskedLayout& layout() const { return layout_; }
  std::vector<uint32_t>& elements() { return elements_; }
  const std::vector<ContributionRecord>& contributions() const { return contributions_; }
  absl::Time started_at() const { return started_at_; }

 private:
  struct RestoredInput {
    std::shared_ptr<const MaskedInput> input;
    ContributionHeader header;
  };

  MaskedLayout layout_;
  std::vector<RestoredInput> restored_;
  std::vector<uint32_t> elements_;
  std::vector<ContributionRecord> contributions_;
  absl::Time started_at_;
};

}  // namespace fedtune
