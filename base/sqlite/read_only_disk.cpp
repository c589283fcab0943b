// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/read_only_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

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

// Of a path from the root on.
std::string UriOf(const std::filesystem::path& database) {
  std::string uri = "file://";
  for (const char c : database.string()) {
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

}  // namespace

std::optional<std::string> UriOnReadOnlyDisk(const std::filesystem::path& database) {
  // The log lies beside the file that a link names.
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(database, error);
  if (error || !IsOnReadOnlyDisk(file) || HasLog(file)) return std::nullopt;
  return UriOf(file);
}

}  // namespace fedtune
