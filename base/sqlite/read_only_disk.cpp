// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/read_only_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// A file without a name, of which nothing is left.
bool CannotMakeFilesIn(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return errno == EROFS;
  ::close(fd);
  return false;
}

// Of an ext4 that has failed, newer kernels say that it can be written.
bool IsOnReadOnlyDisk(const std::filesystem::path& file) {
  const bool is_said_to_be = ::access(file.c_str(), W_OK) != 0 && errno == EROFS;
  return is_said_to_be || CannotMakeFilesIn(file.parent_path());
}

bool HasLog(const std::filesystem::path& database) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(database.string() + "-wal", error);
  return !error && bytes > 0;
}

}  // namespace

absl::StatusOr<DatabaseOnReadOnlyDisk::Stamp> DatabaseOnReadOnlyDisk::StampOf(
    const std::filesystem::path& file) {
  struct stat status = {};
  if (::stat(file.c_str(), &status) != 0) return ErrnoToStatus(errno, "look at", file);
  return Stamp{.bytes = status.st_size,
               .seconds = status.st_mtim.tv_sec,
               .nanoseconds = status.st_mtim.tv_nsec};
}

std::optional<DatabaseOnReadOnlyDisk> DatabaseOnReadOnlyDisk::Find(
    const std::filesystem::path& database) {
  // The log lies beside the file that a link names.
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(database, error);
  if (error || !IsOnReadOnlyDisk(file)) return std::nullopt;
  const absl::StatusOr<Stamp> found = StampOf(file);
  if (!found.ok() || HasLog(file)) return std::nullopt;
  return DatabaseOnReadOnlyDisk(file, *found);
}

std::string DatabaseOnReadOnlyDisk::Uri() const {
  std::string uri = "file://";
  for (const char c : file_.string()) {
    switch (c) {
      case '%':
        uri += "%25";
        break;
      case '?':
        uri += "%3f";
        break;
      case '#':
        uri += "%23";
        break;
      default:
        uri += c;
    }
  }
  return uri + "?immutable=1";
}

absl::Status DatabaseOnReadOnlyDisk::CheckIsStill() const {
  ASSIGN_OR_RETURN(const Stamp now, StampOf(file_));
  if (now == found_ && !HasLog(file_)) return absl::OkStatus();
  return absl::UnavailableError(fmt::format(
      "{} is being written, by another path than this one, by which it can only be read: what was "
      "read may be of no one moment; do this by the path by which it is written",
      file_.string()));
}

}  // namespace fedtune
