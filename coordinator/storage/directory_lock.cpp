// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  const std::filesystem::path path = directory / "lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  DirectoryLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return ErrnoToStatus(errno, "lock", path);
  return absl::FailedPreconditionError(
      fmt::format("{} is in use by another coordinator; stop that one, or choose another folder "
                  "with --state-dir",
                  directory.string()));
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace fedtune
