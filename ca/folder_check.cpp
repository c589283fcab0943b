// SPDX-License-Identifier: Apache-2.0

#include "ca/folder_check.h"

#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "fmt/format.h"

namespace fedtune {

absl::Status CheckFolderOf(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (!std::filesystem::is_directory(folder)) {
    return absl::InvalidArgumentError(
        fmt::format("there is no folder {} for {}", folder.string(), file.filename().string()));
  }
  return ::access(folder.c_str(), W_OK) == 0 ? absl::OkStatus()
                                             : ErrnoToStatus(errno, "write into", folder);
}

}  // namespace fedtune
