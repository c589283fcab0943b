// SPDX-License-Identifier: Apache-2.0

#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"

namespace fedtune {

namespace {

// Another user's, as of root, is as good; network file systems want it to be writable.
int OpenOrMake(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  return fd < 0 && errno == EACCES ? ::open(file.c_str(), O_RDONLY | O_CLOEXEC) : fd;
}

}  // namespace

absl::StatusOr<FileLock> FileLock::Wait(const std::filesystem::path& file) {
  const int fd = OpenOrMake(file);
  if (fd < 0) return ErrnoToStatus(errno, "open", file);
  FileLock lock(fd);
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoToStatus(errno, "lock", file);
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace fedtune
