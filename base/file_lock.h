// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"

namespace fedtune {

// Keeps other processes, and other locks of this one, out for a moment: as long as it
// lives. The lock is the operating system's, so that nothing stays behind of a process
// that was killed.
//
//   ASSIGN_OR_RETURN(const FileLock lock, FileLock::Wait(folder / "seen.lock"));
class FileLock {
 public:
  // Waits until nobody else has it. Makes the file when it is missing, and leaves it there.
  // Errors: the file cannot be opened, or its file system has no locks.
  static absl::StatusOr<FileLock> Wait(const std::filesystem::path& file);

  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fedtune
