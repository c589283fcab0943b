// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// The start of a file that holds a key: as much as any key of ours has and a
// byte more, so that a longer file is not taken for one.
//
// PERMISSION_DENIED: the file can be used by others than its owner. INVALID_ARGUMENT:
// it is a folder, pipe or device. NOT_FOUND, INTERNAL: as ReadFile() of base/files.h.
absl::StatusOr<SecretBytes> ReadPrivateFile(const std::filesystem::path& path);

// Writes a new file that only its owner can read, and sees it onto the disk.
// ALREADY_EXISTS: there is a file; it is left as it is.
absl::Status WriteNewPrivateFile(const std::filesystem::path& path, const SecretBytes& content);

}  // namespace fedtune
