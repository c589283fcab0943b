// SPDX-License-Identifier: Apache-2.0

#include "base/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/time/clock.h"
#include "base/files.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "base/writer.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr size_t kMostOfHolder = 512;

// Whoever looks whether it is taken has it for a moment, but not for itself alone.
constexpr absl::Duration kLongestLook = absl::Seconds(2);
constexpr absl::Duration kLookInterval = absl::Milliseconds(1);

// "by process 12 on hub since ...", or nothing while that is being written.
std::string HolderOf(int fd) {
  std::string text(kMostOfHolder, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return text.empty() ? "by another process" : fmt::format("by {}", PrintableText(text));
}

absl::Status WriteHolder(int fd, const std::filesystem::path& path) {
  const std::string text = ToText(ThisWriter(absl::Now()));
  if (::ftruncate(fd, 0) != 0) return ErrnoToStatus(errno, "write", path);
  const ssize_t size = ::pwrite(fd, text.data(), text.size(), 0);
  if (size < 0) return ErrnoToStatus(errno, "write", path);
  return absl::OkStatus();
}

// Whether a process has it for itself alone; does not take it.
bool IsHeld(int fd) {
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK;
  ::flock(fd, LOCK_UN);
  return false;
}

// False: another process has it; errno says so, or what else is wrong.
bool LockAlone(int fd) {
  const absl::Time last_try = absl::Now() + kLongestLook;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return false;
    if (IsHeld(fd) || absl::Now() > last_try) {
      errno = EWOULDBLOCK;
      return false;
    }
    absl::SleepFor(kLookInterval);
  }
  return true;
}

}  // namespace

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::filesystem::path& directory,
                                                  std::string_view advice) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  const std::filesystem::path path = directory / "lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  DirectoryLock lock(fd);
  if (LockAlone(fd)) {
    RETURN_IF_ERROR(WriteHolder(fd, path));
    return lock;
  }
  if (errno != EWOULDBLOCK) return ErrnoToStatus(errno, "lock", path);
  return absl::FailedPreconditionError(
      fmt::format("{} is in use {}; {}", directory.string(), HolderOf(fd), advice));
}

bool DirectoryLock::IsTaken(const std::filesystem::path& directory) {
  const int fd = ::open((directory / "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const DirectoryLock closing(fd);
  return IsHeld(fd);
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace fedtune
