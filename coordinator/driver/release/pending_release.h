// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/masked_vector.h"
#include "aggregation/mean_source.h"
#include "coordinator/driver/contributions/attempt_contributions.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/release/next_in_store.h"
#include "coordinator/driver/release/stored_optimizer_state.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/storage/run_store.h"
#include "plan/plan.h"

namespace fedtune {

// One release on its way from the sum to the store. Its steps take as long as the disk
// does; one at a time, on any thread.
class PendingRelease {
 public:
  // Of its run. What it refers to must outlive the release.
  struct Setting {
    const RunId& run;
    const Plan& plan;
    const AdapterLayout& layout;
    int64_t experts = 0;  // Of each layer that routes.
    RunStore& store;
  };
  struct Parts {
    Release effect;
    AttemptSum sum;                       // Of the complete round.
    std::optional<GlobalAdapter> newest;  // From which the next one is made.
    StoredOptimizerState optimizer;       // As it was after that one.
    absl::Time wanted_at;                 // When the run has asked for it.
  };

  PendingRelease(const Setting& setting, Parts parts);

  // Makes the next adapter, or leaves the one that stays; takes the masks off before. Does
  // nothing if it is made.
  //
  // RESOURCE_EXHAUSTED, UNAVAILABLE: the store takes nothing now; try again. DATA_LOSS,
  // INTERNAL: what it is made of is damaged, or lost. OUT_OF_RANGE: an impossible secure
  // sum. Else as UnmaskedSum::Create().
  absl::Status Make();

  // Nothing is to be stored: it was the summary alone that was wanted. Requires Make().
  bool only_counts() const { return parts_.effect.evaluate_only; }

  // Requires Make(). `traffic` is that of the run so far. Errors as
  // RunStore::SaveRelease(); after one, start again with Make().
  absl::StatusOr<ReleaseRecord> Store(const Traffic& traffic, absl::Time now);

  // Contributions that cannot be read, if it is them why Make() has failed: takes them out
  // of the sum and the spool. Whose they were.
  std::vector<Institution> TakeOutLost();

  // The sum without them; the release is not made any more.
  AttemptSum TakeSum() { return std::move(parts_.sum); }

  // After Make().
  const Release& effect() const { return parts_.effect; }  // With all of its summary.
  const GlobalAdapter& adapter() const { return *adapter_; }
  const StoredOptimizerState& optimizer() const { return optimizer_; }

 private:
  absl::Status Unmask(const MaskedSum& sum);
  absl::Status MakeNext();
  const MeanSource& mean() const;
  std::optional<int64_t> OldestWanted() const;
  absl::Time StartedAt() const;
  std::vector<ContributionRecord> Contributions() const;

  const Setting setting_;
  Parts parts_;
  std::optional<UnmaskedSum> unmasked_;
  std::unique_ptr<NextInStore> next_;     // Once it is made; none if the adapter stays.
  std::optional<GlobalAdapter> adapter_;  // That one's, or the one that stays.
  StoredOptimizerState optimizer_;        // Likewise.
};

}  // namespace fedtune
