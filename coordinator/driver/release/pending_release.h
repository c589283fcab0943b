// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/masked_vector.h"
#include "aggregation/mean_source.h"
#include "base/clock.h"
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

  // The store takes nothing now, as a full disk does; later it may.
  struct StoreRefuses {
    absl::Status why;
  };
  // Contributions cannot be read any more: they are out of the sum and the spool.
  struct LostSome {
    std::vector<Institution> from;
    absl::Status why;
  };
  // Stored; or, if the summary alone was wanted, counted and nothing stored; or failed for
  // good.
  using Outcome = std::variant<ReleaseRecord, Released, StoreRefuses, LostSome, ReleaseFailed>;

  // Takes the masks off the sum, makes the next adapter, or leaves the one that stays, and
  // stores the release with the run's `traffic` of then. Where the store refuses, it may be
  // called again, and goes on with what it has made.
  Outcome Complete(const std::function<Traffic()>& traffic, const Clock& clock);

  // The sum that is left, once some are lost; the release is not made any more.
  AttemptSum TakeSum() { return std::move(parts_.sum); }

  // Of one that is stored.
  const GlobalAdapter& adapter() const { return *adapter_; }
  const StoredOptimizerState& optimizer() const { return optimizer_; }

 private:
  absl::Status Make();
  bool only_counts() const { return parts_.effect.evaluate_only; }
  absl::StatusOr<ReleaseRecord> Store(const Traffic& traffic, absl::Time now);
  Outcome WhyNone(const absl::Status& made);
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
