// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <filesystem>

#include "absl/status/status.h"

namespace fedtune {

// What root makes in a folder of another user's, that user can neither use nor remove: a
// coordinator would stop making backups. FAILED_PRECONDITION: `user` is root, and `folder`,
// or what it would be made in, is another's.
absl::Status CheckIsNotAnothers(const std::filesystem::path& folder, uid_t user);

}  // namespace fedtune
