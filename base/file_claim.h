// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace fedtune {

// Keeps other processes, and others of this one, from something that a file stands for, for as
// long as it lives. Nobody waits for it, and the file goes with it. The lock is the operating
// system's, so that the file of a process that was killed keeps nobody out. Movable.
class FileClaim {
 public:
  // Makes the file. FAILED_PRECONDITION: somebody else has it; the message is `taken`. Other
  // errors: the file cannot be opened, or its file system has no locks.
  static absl::StatusOr<FileClaim> Take(const std::filesystem::path& file, std::string_view taken);

  FileClaim(FileClaim&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), file_(std::move(other.file_)) {}
  FileClaim& operator=(FileClaim&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(file_, other.file_);
    return *this;
  }
  ~FileClaim();

 private:
  FileClaim(int fd, std::filesystem::path file) : fd_(fd), file_(std::move(file)) {}

  int fd_;
  std::filesystem::path file_;
};

}  // namespace fedtune
