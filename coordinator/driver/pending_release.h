// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/masked_vector.h"
#include "aggregation/mean_source.h"
#include "coordinator/driver/global_adapter.h"
#include "coordinator/driver/masked_sum.h"
#include "coordinator/driver/next_in_store.h"
#include "coordinator/driver/round_sum.h"
#include "coordinator/driver/run_driver.h"

namespace fedtune {

// A release on its way from the sum to the store.
struct RunDriver::PendingRelease {
  Release effect;
  std::optional<RoundSum> sum;          // Of a plain round.
  std::optional<MaskedSum> masked_sum;  // Of a secure one, until it is unmasked.
  std::optional<UnmaskedSum> unmasked;
  std::vector<ContributionRecord> contributions;
  absl::Time started_at;
  std::optional<GlobalAdapter> newest;   // From which it is made.
  std::unique_ptr<NextInStore> next;     // Once it is made.
  std::optional<GlobalAdapter> adapter;  // That one's, or the one that stays.
  StoredOptimizerState optimizer;        // Likewise.
  bool waits = false;                    // For the store, which is in the log.

  const MeanSource& mean() const {
    return unmasked.has_value() ? static_cast<const MeanSource&>(*unmasked) : sum->sum();
  }
};

}  // namespace fedtune
