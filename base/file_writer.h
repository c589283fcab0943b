// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// Writes a file piece by piece beside its place, for its owner's eyes alone; only
// Commit() gives it its name, so that the name never holds half a file. A writer
// that goes before leaves nothing; one whose process is killed leaves a file that
// RemovePartialFiles() finds. Movable. Not thread-safe.
class FileWriter {
 public:
  // Takes `size` bytes of the disk at once where the file system can do so, so
  // that a full one shows before the work is done. Requires: as many are written.
  //
  // RESOURCE_EXHAUSTED: the disk is full. Others as ErrnoToStatus().
  static absl::StatusOr<FileWriter> Create(const std::filesystem::path& path, uint64_t size);

  FileWriter(FileWriter&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        path_(std::move(other.path_)),
        temporary_(std::move(other.temporary_)) {}
  FileWriter& operator=(FileWriter&&) = delete;
  ~FileWriter();

  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Write(std::span<const uint8_t> bytes);

  // The file is on the disk, under its name, when this returns. RESOURCE_EXHAUSTED: the disk is
  // full. Others as ErrnoToStatus().
  absl::Status Commit() &&;

 private:
  FileWriter(int fd, std::filesystem::path path, std::filesystem::path temporary)
      : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}

  absl::Status TakeSpace(uint64_t size);

  int fd_;  // -1: moved from, or committed.
  std::filesystem::path path_;
  std::filesystem::path temporary_;
};

}  // namespace fedtune
