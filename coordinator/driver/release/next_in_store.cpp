// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/release/next_in_store.h"

#include <span>
#include <string>
#include <utility>

#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<std::unique_ptr<NextInStore>> NextInStore::Create(RunStore& store,
                                                                 GlobalAdapter adapter,
                                                                 StoredOptimizerState state,
                                                                 const OptimizerStateHead& head) {
  std::unique_ptr<NextInStore> next(new NextInStore(std::move(adapter), std::move(state), head));
  ASSIGN_OR_RETURN(next->adapter_draft_, store.NewBlob(next->before_.bytes().size()));
  ASSIGN_OR_RETURN(next->state_draft_, store.NewBlob(head.stored_bytes()));
  const std::string text = head.ToBytes();
  RETURN_IF_ERROR(next->state_draft_->Write(0, std::as_bytes(std::span(text))));
  return next;
}

absl::Status NextInStore::Load(int64_t first, const Block& block) const {
  const Block there = LoadBlock(before_, state_before_, first, block);
  if (state_before_.sums->AreOf(first, there)) return absl::OkStatus();
  return absl::DataLossError(
      "the newest adapter, or what the server's optimiser remembers, is damaged on the disk");
}

absl::Status NextInStore::Store(int64_t first, const Block& block) {
  sums_->Note(first, block);
  RETURN_IF_ERROR(adapter_draft_->Write(static_cast<uint64_t>(first) * sizeof(float),
                                        std::as_bytes(block.values)));
  if (!block.first_moment.empty()) {
    RETURN_IF_ERROR(state_draft_->Write(head_.FirstAt(first), std::as_bytes(block.first_moment)));
  }
  if (block.second_moment.empty()) return absl::OkStatus();
  return state_draft_->Write(head_.SecondAt(first), std::as_bytes(block.second_moment));
}

absl::Status NextInStore::Finish() {
  ASSIGN_OR_RETURN(Blob adapter, adapter_draft_->blob());
  ASSIGN_OR_RETURN(Blob state, state_draft_->blob());
  next_.emplace(std::move(adapter), adapter_draft_->TakeDigest());
  next_state_ = {.head = head_, .blob = std::move(state), .sums = sums_};
  state_digest_ = state_draft_->TakeDigest();
  return absl::OkStatus();
}

void NextInStore::Fill(NewRelease& release) const {
  release.adapter = next_->bytes();
  release.adapter_draft = adapter_draft_.get();
  release.optimizer_state = next_state_.blob.bytes();
  release.state_draft = state_draft_.get();
  release.state_digest = state_digest_;
}

}  // namespace fedtune
