// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"

namespace fedtune {

// Keeps a second coordinator out of a state directory for as long as it lives.
// A crash leaves no lock behind.
class DirectoryLock {
 public:
  // Makes the directory when it is missing.
  // FAILED_PRECONDITION: another process has it.
  static absl::StatusOr<DirectoryLock> Take(const std::filesystem::path& directory);

  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fedtune
