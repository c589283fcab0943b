// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/server_optimizer.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/release/step_sums.h"
#include "coordinator/driver/release/stored_optimizer_state.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The next adapter and its optimiser's state, written straight into the store from those
// before, which stay as they are: a release needs no memory for either.
class NextInStore final : public SteppedValues {
 public:
  // `adapter` is the newest one, `state` its own, with sums, and `head` that of the state
  // after the step. `store` must outlive it. Errors: of RunStore::NewBlob().
  static absl::StatusOr<std::unique_ptr<NextInStore>> Create(RunStore& store, GlobalAdapter adapter,
                                                             StoredOptimizerState state,
                                                             const OptimizerStateHead& head);

  const OptimizerStateHead& head() const { return head_; }

  // DATA_LOSS: what is stored is not what it was.
  absl::Status Load(int64_t first, const Block& block) const override;
  absl::Status Store(int64_t first, const Block& block) override;

  // When all is stored. Once. Errors: of the store.
  absl::Status Finish();

  // From then on.
  const GlobalAdapter& adapter() const { return *next_; }
  const StoredOptimizerState& state() const { return next_state_; }

  // Lets the release refer to them.
  void Fill(NewRelease& release) const;

  // Whether it may be stored again after an attempt that failed.
  bool can_be_kept() const { return adapter_draft_->can_be_kept() && state_draft_->can_be_kept(); }

 private:
  NextInStore(GlobalAdapter adapter, StoredOptimizerState state, const OptimizerStateHead& head)
      : before_(std::move(adapter)),
        state_before_(std::move(state)),
        head_(head),
        sums_(std::make_shared<StepSums>(std::ssize(before_.values()))) {}

  const GlobalAdapter before_;
  const StoredOptimizerState state_before_;
  const OptimizerStateHead head_;
  const std::shared_ptr<StepSums> sums_;  // After the step.
  std::unique_ptr<BlobDraft> adapter_draft_;
  std::unique_ptr<BlobDraft> state_draft_;
  std::optional<GlobalAdapter> next_;
  StoredOptimizerState next_state_;
  Digest state_digest_;
};

}  // namespace fedtune
