// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kUnique = "XXXXXX";

std::string PrefixOf(std::string_view run) { return fmt::format("{}.", run); }

}  // namespace

SpoolFile::SpoolFile(SpoolFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), kept_(other.kept_) {}

SpoolFile& SpoolFile::operator=(SpoolFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(kept_, other.kept_);
  return *this;
}

SpoolFile::~SpoolFile() {
  if (fd_ < 0) return;
  if (!kept_) ::unlink(path_.c_str());
  ::close(fd_);
}

absl::Status SpoolFile::Write(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return ErrnoToStatus(errno, fmt::format("write {} to", HumanBytes(bytes.size())), path_);
    }
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::Read(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t read = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return ErrnoToStatus(errno, "read", path_);
    if (read == 0) {
      return absl::InternalError(fmt::format("{} ends at byte {}", path_.string(), offset));
    }
    offset += static_cast<uint64_t>(read);
    bytes = bytes.subspan(static_cast<size_t>(read));
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::Keep() {
  if (::fdatasync(fd_) != 0) return ErrnoToStatus(errno, "sync", path_);
  RETURN_IF_ERROR(SyncDirectory(path_.parent_path()));
  kept_ = true;
  return absl::OkStatus();
}

absl::StatusOr<Spool> Spool::Open(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  if (::chmod(directory.c_str(), S_IRWXU) != 0) return ErrnoToStatus(errno, "protect", directory);
  return Spool(directory);
}

absl::StatusOr<SpoolFile> Spool::Create(std::string_view run, uint64_t size) const {
  std::string path = (directory_ / (PrefixOf(run) + std::string(kUnique))).string();
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoToStatus(errno, "create a file in", directory_);
  SpoolFile file(fd, path, /*kept=*/false);
  if (size == 0 || ::fallocate(fd, 0, 0, static_cast<off_t>(size)) == 0 || errno == EOPNOTSUPP) {
    return file;
  }
  return ErrnoToStatus(errno, fmt::format("take {} in", HumanBytes(size)), directory_);
}

absl::StatusOr<SpoolFile> Spool::Find(std::string_view name, uint64_t size) const {
  const std::filesystem::path path = directory_ / name;
  const absl::Status no_name =
      absl::NotFoundError(fmt::format("\"{}\" is not the name of a file in a spool", name));
  if (path.parent_path() != directory_ || path.filename() != name) return no_name;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  SpoolFile file(fd, path, /*kept=*/true);
  struct stat status;
  if (::fstat(fd, &status) != 0) return ErrnoToStatus(errno, "open", path);
  if (!S_ISREG(status.st_mode)) return no_name;
  if (static_cast<uint64_t>(status.st_size) == size) return file;
  return absl::DataLossError(
      fmt::format("{} has {} bytes, expected {}", path.string(), status.st_size, size));
}

void Spool::Remove(std::string_view run, const std::set<std::string>& wanted) const {
  const std::string prefix = PrefixOf(run);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && !wanted.contains(name)) ::unlink(entry.path().c_str());
  }
}

absl::Status Spool::RemoveAllBut(const std::set<std::string>& runs) const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (runs.contains(name.substr(0, name.rfind('.')))) continue;
    if (::unlink(entry.path().c_str()) != 0) return ErrnoToStatus(errno, "remove", entry.path());
  }
  if (error) return ErrnoToStatus(error.value(), "list", directory_);
  return absl::OkStatus();
}

}  // namespace fedtune
