// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <filesystem>
#include <mutex>
#include <set>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/blob.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A folder of blobs, each a file named by the SHA-256 of its bytes. A file with
// its final name is whole and on the disk. Thread-safe.
class BlobStore {
 public:
  // Makes the folder and removes what a crash left half-written in it.
  static absl::StatusOr<BlobStore> Open(const std::filesystem::path& directory);

  BlobStore(BlobStore&& other) noexcept : directory_(std::move(other.directory_)) {}

  // Stores `bytes`, durably; a blob that is there already is left alone.
  // Requires: `digest` is theirs.
  //
  // RESOURCE_EXHAUSTED: the disk is full; nothing is stored.
  absl::Status Put(const Digest& digest, std::span<const std::byte> bytes);

  // NOT_FOUND: no such blob.
  absl::StatusOr<Blob> Get(const Digest& digest) const;

  // Those who hold the blob keep it. Removing what is not there does nothing.
  absl::Status Remove(const Digest& digest);

  // Removes every blob that is not in `wanted`.
  absl::Status RemoveAllBut(const std::set<Digest>& wanted);

 private:
  explicit BlobStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path PathOf(const Digest& digest) const;

  std::filesystem::path directory_;
  std::mutex writing_;  // Temporary files are named by process only.
};

}  // namespace fedtune
