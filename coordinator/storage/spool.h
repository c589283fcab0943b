// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// A file of a spool, read and written in place. It goes with the object, unless it
// is kept. Reading is thread-safe. Movable.
class SpoolFile {
 public:
  SpoolFile(SpoolFile&& other) noexcept;
  SpoolFile& operator=(SpoolFile&& other) noexcept;
  ~SpoolFile();

  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes);

  // INTERNAL: the file is shorter, or cannot be read.
  absl::Status Read(uint64_t offset, std::span<std::byte> bytes) const;

  // Brings all that was written onto the disk; from then on the file stays, for
  // Spool::Find(). INTERNAL: the disk does not take it; what it has is unknown.
  absl::Status Keep();

  // By which Spool::Find() knows it.
  std::string name() const { return path_.filename().string(); }

 private:
  friend class Spool;
  SpoolFile(int fd, std::filesystem::path path, bool kept)
      : fd_(fd), path_(std::move(path)), kept_(kept) {}

  int fd_;
  std::filesystem::path path_;
  bool kept_;
};

// The folder of what clients hand in for rounds that are open: a file for each
// contribution, from its first byte until its round is released. A restarted
// process finds those that were kept. Thread-safe.
class Spool {
 public:
  // Makes the folder, for its owner's eyes only.
  static absl::StatusOr<Spool> Open(const std::filesystem::path& directory);

  // A new file for `run`, with `size` bytes of the disk taken at once where the
  // file system can do so. RESOURCE_EXHAUSTED: the disk is full.
  absl::StatusOr<SpoolFile> Create(std::string_view run, uint64_t size) const;

  // A file that was kept. NOT_FOUND: there is none. DATA_LOSS: it has another size.
  absl::StatusOr<SpoolFile> Find(std::string_view name, uint64_t size) const;

  // Removes the files of `run` that are not `wanted`. What cannot be removed now
  // is removed another time. Those who have a file open keep its bytes.
  void Remove(std::string_view run, const std::set<std::string>& wanted = {}) const;

  // Removes everything that is of none of these runs. Call it before clients connect.
  absl::Status RemoveAllBut(const std::set<std::string>& runs) const;

 private:
  explicit Spool(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path directory_;
};

}  // namespace fedtune
