// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/stat.h>

#include <filesystem>

#include "absl/status/statusor.h"
#include "base/descriptor.h"

namespace fedtune {

// A file that is open for reading, and what the system said of it then.
struct OpenedFile {
  Descriptor descriptor;
  struct stat status;
};

// Opens a file, without waiting for who would write into it if it were a pipe.
// NOT_FOUND, PERMISSION_DENIED, INTERNAL: as ErrnoToStatus(). INVALID_ARGUMENT: it is a
// folder, pipe or device.
absl::StatusOr<OpenedFile> OpenToRead(const std::filesystem::path& path);

}  // namespace fedtune
