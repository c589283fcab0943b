// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <vector>

#include "base/descriptor.h"
#include "base/files.h"
#include "base/opened_file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/private_key_pem.h"

namespace fedtune {
namespace {

constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

absl::Status WriteAndSync(int fd, const SecretBytes& content, const std::filesystem::path& path) {
  RETURN_IF_ERROR(WriteAll(fd, std::as_bytes(content.Reveal()), path));
  return ::fsync(fd) == 0 ? absl::OkStatus() : ErrnoToStatus(errno, "sync", path);
}

}  // namespace

absl::StatusOr<SecretBytes> ReadPrivateFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenedFile file, OpenToRead(path));
  if ((file.status.st_mode & kOthers) != 0) {
    return absl::PermissionDeniedError(
        fmt::format("{0} can be used by others than its owner (mode {1:04o}); run: chmod 600 {0}",
                    path.string(), file.status.st_mode & 07777));
  }
  // One byte more than any key, so that a longer file is not taken for one.
  std::vector<uint8_t> content(kLongestPem + 1);
  const ssize_t size = ::read(file.descriptor.get(), content.data(), content.size());
  if (size < 0) return ErrnoToStatus(errno, "read", path);
  content.resize(static_cast<size_t>(size));
  return SecretBytes(std::move(content));
}

absl::Status WriteNewPrivateFile(const std::filesystem::path& path, const SecretBytes& content) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists; a key is never overwritten, move it away first", path.string()));
  }
  if (fd.get() < 0) return ErrnoToStatus(errno, "create", path);
  absl::Status status = WriteAndSync(fd.get(), content, path);
  if (!status.ok()) ::unlink(path.c_str());
  return status;
}

}  // namespace fedtune
