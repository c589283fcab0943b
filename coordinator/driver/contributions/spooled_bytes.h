// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/storage/spool.h"
#include "coordinator/storage/spool_pack.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// How the spool's slots of an attempt begin.
inline std::string SlotsOf(int64_t round, int64_t attempt) {
  return fmt::format("{}-{}-", round, attempt);
}

// What a client hands in, in the order of its bytes: up to 4 MiB in the pack of its run,
// more in a file of their own, so that memory does not grow with the number of clients.
// Reading is thread-safe. Movable.
class SpooledBytes {
 public:
  // UNAVAILABLE: there is no space on the disk now, or the pack is closed.
  static absl::StatusOr<SpooledBytes> Create(SpoolPack& pack, uint64_t size);

  // The same for an upload that may be cut off: what came of a large one before is there,
  // and received() says how much. See Spool::CreateOrGoOn().
  static absl::StatusOr<SpooledBytes> CreateOrGoOn(SpoolPack& pack, std::string_view slot,
                                                   const Digest& content, uint64_t size);

  // What another process has kept under this name, where it lies; `open` has the files of
  // small ones. NOT_FOUND, DATA_LOSS, INTERNAL.
  static absl::StatusOr<SpooledBytes> Find(const Spool& spool, std::string_view name, uint64_t size,
                                           Spool::OpenFiles& open);

  // Requires: not more than `size` in all. UNAVAILABLE: the disk does not take them.
  absl::Status Append(std::string_view bytes);

  // Requires: within what was appended. INTERNAL: the file cannot be read.
  absl::Status Read(uint64_t offset, std::span<std::byte> bytes) const;

  // Makes them last beyond this process; Find() gets them back by name(). Requires:
  // they are not small. UNAVAILABLE: the disk does not take them now.
  absl::Status Keep();

  // UNAVAILABLE: they are small, and the disk may have lost what came of them.
  absl::Status CheckCanKeep(const SpoolPack& pack) const;

  // Keeps all of those that are small and not kept yet, with one sync. Requires:
  // CheckCanKeep() of each. UNAVAILABLE: the disk does not take them now.
  static absl::Status KeepTogether(SpoolPack& pack, std::span<SpooledBytes* const> all);

  // Those of them that KeepTogether() has kept are not wanted after all. Requires: nobody
  // was told their names.
  static void UnkeepTogether(std::span<SpooledBytes* const> all);

  // Empty until they are kept; and if there are no bytes.
  const std::string& name() const { return name_; }

  // Whether they are kept with others, and not in a file of their own.
  bool is_small() const;
  uint64_t size() const { return size_; }
  uint64_t received() const { return received_; }
  bool complete() const { return received_ == size_; }

  // Forgets what came behind the first `size` bytes. Requires: as many came.
  // UNAVAILABLE: the file cannot be cut off.
  absl::Status CutOff(uint64_t size);

  // Nobody finds them any more; they can still be read. Small ones lie with others, and
  // stay.
  void Remove() {
    if (file_.has_value()) file_->Remove();
  }

  // Nothing of it stays.
  void Discard() {
    if (file_.has_value()) file_->Discard();
  }

 private:
  explicit SpooledBytes(uint64_t size) : size_(size) {}

  uint64_t size_;
  uint64_t received_ = 0;
  std::unique_ptr<SpoolPack::Place> place_;  // Of small ones.
  std::optional<KeptBytes> found_;           // Of those that another process has kept.
  std::optional<SpoolFile> file_;            // Of the others.
  std::string name_ = {};
};

}  // namespace fedtune
