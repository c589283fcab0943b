// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/next_in_store.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/driver/block_sums.h"

namespace fedtune {
namespace {

// Stored moments need not lie where a float may.
void Read(const Blob& blob, uint64_t offset, std::span<float> values) {
  const auto bytes = blob.bytes().subspan(offset, values.size_bytes());
  std::memcpy(values.data(), bytes.data(), bytes.size());
}

// Gives back what of `block` was there: moments may be new.
SteppedValues::Block LoadBlock(const GlobalAdapter& adapter, const StoredOptimizerState& state,
                               int64_t first, SteppedValues::Block block) {
  const auto values = adapter.values().subspan(static_cast<size_t>(first), block.values.size());
  std::copy(values.begin(), values.end(), block.values.begin());
  if (state.head.first_count == 0) block.first_moment = {};
  if (state.head.second_count == 0) block.second_moment = {};
  if (!block.first_moment.empty()) {
    Read(state.blob, state.head.FirstAt(first), block.first_moment);
  }
  if (!block.second_moment.empty()) {
    Read(state.blob, state.head.SecondAt(first), block.second_moment);
  }
  return block;
}

std::array<uint64_t, 3> SumsOfBlock(const SteppedValues::Block& block) {
  return {BlockSums::Of(std::as_bytes(block.values)),
          BlockSums::Of(std::as_bytes(block.first_moment)),
          BlockSums::Of(std::as_bytes(block.second_moment))};
}

size_t BlockAt(int64_t first) { return static_cast<size_t>(first / SteppedValues::kBlockValues); }

}  // namespace

StepSums::StepSums(int64_t value_count)
    : sums_(BlockAt(value_count + SteppedValues::kBlockValues - 1)) {}

void StepSums::Note(int64_t first, const SteppedValues::Block& block) {
  sums_[BlockAt(first)] = SumsOfBlock(block);
}

bool StepSums::AreOf(int64_t first, const SteppedValues::Block& block) const {
  return sums_[BlockAt(first)] == SumsOfBlock(block);
}

std::shared_ptr<const StepSums> SumsOf(const GlobalAdapter& adapter,
                                       const StoredOptimizerState& state) {
  const int64_t count = std::ssize(adapter.values());
  auto sums = std::make_shared<StepSums>(count);
  std::array<std::vector<float>, 3> parts;
  for (int64_t first = 0; first < count; first += SteppedValues::kBlockValues) {
    for (auto& part : parts) {
      part.resize(static_cast<size_t>(std::min(SteppedValues::kBlockValues, count - first)));
    }
    sums->Note(first, LoadBlock(adapter, state, first, {parts[0], parts[1], parts[2]}));
  }
  return sums;
}

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
