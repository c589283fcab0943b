// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/blob.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A blob that is being written, where it is going to lie, by several threads. It goes
// with the object, unless it is kept. Write() is thread-safe.
class BlobDraft {
 public:
  explicit BlobDraft(uint64_t size) : size_(size) {}
  BlobDraft(const BlobDraft&) = delete;
  BlobDraft& operator=(const BlobDraft&) = delete;
  virtual ~BlobDraft() = default;

  uint64_t size() const { return size_; }

  // Pieces in any order; those that come in that of their bytes are hashed while they
  // are in a cache. Requires: within size(), and no byte twice.
  //
  // Errors as RunStore; the draft is good for nothing then.
  absl::Status Write(uint64_t offset, std::span<const std::byte> piece);

  // When all is written. Consumes what has been hashed.
  Digest TakeDigest();

  // What is written, for as long as someone holds it, kept or not.
  virtual absl::StatusOr<Blob> blob() const = 0;

  // Brings it onto the disk, under its name; doing it again is fine. Errors as RunStore.
  virtual absl::Status Keep(const Digest& digest) = 0;

  // Whether Keep() may be tried again: what a sync that failed has left of it is unknown.
  virtual bool can_be_kept() const { return true; }

 protected:
  // Writes a piece where it belongs, without its hash. Called by several threads at once.
  // Errors as Write().
  virtual absl::Status Put(uint64_t offset, std::span<const std::byte> piece) = 0;

  // What Put() has put. Errors as Write().
  virtual absl::Status Get(uint64_t offset, std::span<std::byte> piece) const = 0;

 private:
  absl::Status Hash(uint64_t offset, std::span<const std::byte> piece);
  absl::Status HashWhatFollows(std::unique_lock<std::mutex>& lock);

  const uint64_t size_;
  std::mutex mutex_;
  Sha256 hash_;                            // Of the first bytes, by one thread at a time.
  uint64_t hashed_ = 0;                    // How many.
  bool is_hashing_ = false;                // That thread.
  std::map<uint64_t, uint64_t> unhashed_;  // Pieces behind them, with their sizes.
};

// One that lies in memory, until a transaction stores it.
class BlobDraftInMemory : public BlobDraft {
 public:
  explicit BlobDraftInMemory(uint64_t size);

  absl::StatusOr<Blob> blob() const override;
  absl::Status Keep(const Digest&) override { return absl::OkStatus(); }

 private:
  absl::Status Put(uint64_t offset, std::span<const std::byte> piece) override;
  absl::Status Get(uint64_t offset, std::span<std::byte> piece) const override;

  const std::shared_ptr<std::vector<std::byte>> bytes_;
};

}  // namespace fedtune
