// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/read_only_disk.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace fedtune {
namespace {

bool IsOnReadOnlyDisk(const std::filesystem::path& file) {
  return ::access(file.c_str(), W_OK) != 0 && errno == EROFS;
}

bool HasLog(const std::filesystem::path& database) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(database.string() + "-wal", error);
  return !error && bytes > 0;
}

}  // namespace

std::optional<std::string> UriOnReadOnlyDisk(const std::filesystem::path& database) {
  if (!IsOnReadOnlyDisk(database) || HasLog(database)) return std::nullopt;
  std::string uri = "file:";
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

}  // namespace fedtune
