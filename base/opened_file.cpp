// SPDX-License-Identifier: Apache-2.0

#include "base/opened_file.h"

#include <fcntl.h>

#include <cerrno>

#include "base/files.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<OpenedFile> OpenToRead(const std::filesystem::path& path) {
  OpenedFile file{.descriptor = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
                  .status = {}};
  const int fd = file.descriptor.get();
  if (fd < 0 || ::fstat(fd, &file.status) != 0) return ErrnoToStatus(errno, "open", path);
  if (S_ISDIR(file.status.st_mode)) return ErrnoToStatus(EISDIR, "read", path);
  if (!S_ISREG(file.status.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("cannot read {}: it is a pipe or a device; a file is needed", path.string()));
  }
  return file;
}

}  // namespace fedtune
