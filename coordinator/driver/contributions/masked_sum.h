// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/element_source.h"
#include "aggregation/masked_layout.h"
#include "coordinator/driver/contributions/masked_input.h"
#include "coordinator/storage/run_store.h"
#include "privacy/secure_aggregation/mask_stream.h"

namespace fedtune {

// What one attempt of a secure round has gathered. The masked vectors stay where they
// are until the round is released: memory grows neither with their number nor with
// their size. Not thread-safe.
class MaskedSum {
 public:
  using Input = std::shared_ptr<const MaskedElements>;

  MaskedSum(MaskedLayout layout, absl::Time started_at)
      : layout_(std::move(layout)), started_at_(started_at) {}

  // Requires: as many elements as the layout has.
  void Add(Input input, ContributionRecord contribution);

  bool Has(const MaskedElements& input) const;

  // The sum of all, of which the masks are taken off.
  std::shared_ptr<const ElementSource> Unmasked(std::shared_ptr<const MaskStreams> masks) const;

  const MaskedLayout& layout() const { return layout_; }
  const std::vector<ContributionRecord>& contributions() const { return contributions_; }
  absl::Time started_at() const { return started_at_; }

 private:
  MaskedLayout layout_;
  std::vector<Input> inputs_;
  std::vector<ContributionRecord> contributions_;
  absl::Time started_at_;
};

}  // namespace fedtune
