// SPDX-License-Identifier: Apache-2.0

#include "base/file_claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/files.h"

namespace fedtune {
namespace {

// Not where its last holder has removed it, and perhaps somebody else has made another.
bool IsStillAt(int fd, const std::filesystem::path& file) {
  struct stat opened = {};
  struct stat named = {};
  return ::fstat(fd, &opened) == 0 && ::stat(file.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

absl::StatusOr<FileClaim> FileClaim::Take(const std::filesystem::path& file,
                                          std::string_view taken) {
  while (true) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return ErrnoToStatus(errno, "open", file);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int why = errno;
      ::close(fd);
      if (why == EINTR) continue;
      if (why != EWOULDBLOCK) return ErrnoToStatus(why, "lock", file);
      return absl::FailedPreconditionError(std::string(taken));
    }
    if (IsStillAt(fd, file)) return FileClaim(fd, file);
    ::close(fd);
  }
}

// While it is held: whoever opens it until it is closed finds that it is not there any more.
FileClaim::~FileClaim() {
  if (fd_ < 0) return;
  ::unlink(file_.c_str());
  ::close(fd_);
}

}  // namespace fedtune
