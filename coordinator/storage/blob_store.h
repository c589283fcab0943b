// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/blob.h"
#include "coordinator/storage/blob_draft.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A folder of blobs, each a file named by the SHA-256 of its bytes. A file with
// its final name is whole and on the disk. Thread-safe.
class BlobStore {
 public:
  // Makes the folder, for its owner's eyes only, and removes what a crash left half-written
  // in it. Errors as MakeDirectories() and ErrnoToStatus().
  static absl::StatusOr<BlobStore> Open(const std::filesystem::path& directory);

  BlobStore(BlobStore&& other) noexcept : directory_(std::move(other.directory_)) {}

  // Stores `bytes`, durably; a blob that is there already is left alone.
  // Requires: `digest` is theirs.
  //
  // RESOURCE_EXHAUSTED: the disk is full; nothing is stored.
  absl::Status Put(const Digest& digest, std::span<const std::byte> bytes);

  // What becomes of an error of a draft before its caller sees it.
  using Judge = std::function<absl::Status(absl::Status)>;

  // A new blob of `size` bytes, in a file that is whole when it has its name. The disk
  // is taken at once where the file system can do so. The store must outlive it.
  //
  // RESOURCE_EXHAUSTED: the disk is full.
  absl::StatusOr<std::unique_ptr<BlobDraft>> NewDraft(uint64_t size, Judge judge);

  // NOT_FOUND: no such blob.
  absl::StatusOr<Blob> Get(const Digest& digest) const;

  // Those who hold the blob keep it. Removing what is not there does nothing. The disk
  // takes its time to free a large file: that is done on another thread. Errors as
  // ErrnoToStatus().
  absl::Status Remove(const Digest& digest);

  // Removes every blob that is not in `wanted`. Errors as Remove(); some may be gone then.
  absl::Status RemoveAllBut(const std::set<Digest>& wanted);

 private:
  class Draft;

  explicit BlobStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path PathOf(const Digest& digest) const;

  std::filesystem::path directory_;
  std::mutex mutex_;
  int64_t drafts_ = 0;    // So many there have been: their files are numbered.
  std::jthread freeing_;  // What was removed last.
};

}  // namespace fedtune
