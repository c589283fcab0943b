// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace fedtune {

// Keeps a second process out of a state directory for as long as it lives.
// The lock is the operating system's, so that nothing stays behind of a process
// that was killed; the file says who has it.
class DirectoryLock {
 public:
  // Makes the directory when it is missing. `advice` ends the message when another
  // process has it.
  // FAILED_PRECONDITION: another process has it; says which one, where and since
  // when.
  static absl::StatusOr<DirectoryLock> Take(
      const std::filesystem::path& directory,
      std::string_view advice = "stop that one, or choose another folder with --state-dir");

  // Whether a process has it at this moment. Whoever takes it meanwhile gets it.
  static bool IsTaken(const std::filesystem::path& directory);

  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fedtune
