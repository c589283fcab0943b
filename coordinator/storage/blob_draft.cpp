// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/blob_draft.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace fedtune {
namespace {

// Read again to be hashed, at a time.
constexpr uint64_t kReadBytes = uint64_t{64} << 10;

}  // namespace

absl::Status BlobDraft::Write(uint64_t offset, std::span<const std::byte> piece) {
  Check(offset + piece.size() <= size_, "more than the blob has room for");
  RETURN_IF_ERROR(Put(offset, piece));
  return Hash(offset, piece);
}

// Whoever brings the next piece hashes it, and those behind it that are there.
absl::Status BlobDraft::Hash(uint64_t offset, std::span<const std::byte> piece) {
  if (piece.empty()) return absl::OkStatus();
  std::unique_lock lock(mutex_);
  if (is_hashing_ || offset != hashed_) {
    unhashed_.emplace(offset, piece.size());
    return absl::OkStatus();
  }
  is_hashing_ = true;
  lock.unlock();
  hash_.Update(piece);
  lock.lock();
  hashed_ += piece.size();
  absl::Status hashed = HashWhatFollows(lock);
  is_hashing_ = false;
  return hashed;
}

absl::Status BlobDraft::HashWhatFollows(std::unique_lock<std::mutex>& lock) {
  std::vector<std::byte> block;
  while (!unhashed_.empty() && unhashed_.begin()->first == hashed_) {
    uint64_t left = unhashed_.begin()->second;
    unhashed_.erase(unhashed_.begin());
    while (left > 0) {
      block.resize(std::min(left, kReadBytes));
      lock.unlock();
      absl::Status read = Get(hashed_, block);
      if (read.ok()) hash_.Update(block);
      lock.lock();
      RETURN_IF_ERROR(read);
      hashed_ += block.size();
      left -= block.size();
    }
  }
  return absl::OkStatus();
}

Digest BlobDraft::TakeDigest() {
  const std::lock_guard lock(mutex_);
  Check(hashed_ == size_, "a blob is whole before it has a digest");
  return std::exchange(hash_, Sha256()).Finish();
}

BlobDraftInMemory::BlobDraftInMemory(uint64_t size)
    : BlobDraft(size), bytes_(std::make_shared<std::vector<std::byte>>(size)) {}

absl::StatusOr<Blob> BlobDraftInMemory::blob() const { return Blob(bytes_, *bytes_); }

absl::Status BlobDraftInMemory::Put(uint64_t offset, std::span<const std::byte> piece) {
  std::copy(piece.begin(), piece.end(), bytes_->begin() + static_cast<std::ptrdiff_t>(offset));
  return absl::OkStatus();
}

absl::Status BlobDraftInMemory::Get(uint64_t offset, std::span<std::byte> piece) const {
  std::copy_n(bytes_->begin() + static_cast<std::ptrdiff_t>(offset), piece.size(), piece.begin());
  return absl::OkStatus();
}

}  // namespace fedtune
