// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <unistd.h>

namespace fedtune {

// Owns a file descriptor, as open() and its kind return it, and closes it at the
// end; of one below 0, an error of theirs, nothing is closed.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace fedtune
