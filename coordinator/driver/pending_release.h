// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/driver/global_adapter.h"
#include "coordinator/driver/masked_sum.h"
#include "coordinator/driver/round_sum.h"
#include "coordinator/driver/run_driver.h"

namespace fedtune {

// A release on its way from the sum to the store.
struct RunDriver::PendingRelease {
  Release effect;
  std::optional<RoundSum> sum;          // Of a plain round.
  std::optional<MaskedSum> masked_sum;  // Of a secure one, unless it has burnt.
  std::vector<ContributionRecord> contributions;
  absl::Time started_at;
  std::optional<GlobalAdapter> adapter;  // Once it is made.
  std::string optimizer_state;           // Likewise; empty: there is none.
  bool waits = false;                    // For the store, which is in the log.
};

}  // namespace fedtune
