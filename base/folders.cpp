// SPDX-License-Identifier: Apache-2.0

#include "base/folders.h"

#include <algorithm>
#include <system_error>

#include "base/files.h"

namespace fedtune {

std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    entries.push_back(entry.path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

absl::Status RemoveAll(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  return error ? ErrnoToStatus(error.value(), "remove", folder) : absl::OkStatus();
}

}  // namespace fedtune
