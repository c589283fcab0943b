// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/next_in_store.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/status_macros.h"

namespace fedtune {
namespace {

// Stored moments need not lie where a float may.
void Read(const Blob& blob, uint64_t offset, std::span<float> values) {
  const auto bytes = blob.bytes().subspan(offset, values.size_bytes());
  std::memcpy(values.data(), bytes.data(), bytes.size());
}

}  // namespace

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

void NextInStore::Load(int64_t first, const Block& block) const {
  const auto values = before_.values().subspan(static_cast<size_t>(first), block.values.size());
  std::copy(values.begin(), values.end(), block.values.begin());
  const OptimizerStateHead& before = state_before_.head;
  if (before.first_count > 0) Read(state_before_.blob, before.FirstAt(first), block.first_moment);
  if (before.second_count > 0) {
    Read(state_before_.blob, before.SecondAt(first), block.second_moment);
  }
}

absl::Status NextInStore::Store(int64_t first, const Block& block) {
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
  next_state_ = {.head = head_, .blob = std::move(state)};
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
