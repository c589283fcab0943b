// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/file_owner.h"

#include <pwd.h>
#include <sys/stat.h>

#include <string>

#include "fmt/format.h"

namespace fedtune {

absl::Status CheckIsNotAnothers(const std::filesystem::path& folder, uid_t user) {
  constexpr uid_t kRoot = 0;
  std::filesystem::path there = std::filesystem::absolute(folder);
  struct stat status = {};
  while (::stat(there.c_str(), &status) != 0 && there.has_relative_path()) {
    there = there.parent_path();
  }
  if (user != kRoot || status.st_uid == kRoot) return absl::OkStatus();
  const passwd* const owner = ::getpwuid(status.st_uid);
  const std::string name = owner == nullptr ? fmt::format("#{}", status.st_uid) : owner->pw_name;
  return absl::FailedPreconditionError(
      fmt::format("{} belongs to {}, who could not use or remove what root makes there; run this "
                  "as that user: sudo -u '{}' fedtune-coordinator ...",
                  there.string(), name, name));
}

}  // namespace fedtune
