// SPDX-License-Identifier: Apache-2.0

#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/exit_code.h"
#include "base/opened_file.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Calls `write` with what is left and how much is done until that is all.
template <typename Write>
absl::Status WriteInParts(std::span<const std::byte> bytes, const std::filesystem::path& path,
                          Write write) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = write(bytes.subspan(done), done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return ErrnoToStatus(errno, fmt::format("write {} to", HumanBytes(bytes.size())), path);
    }
    done += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

void StartWritingOut(int fd, uint64_t begin, uint64_t end) {
  constexpr uint64_t kTogether = uint64_t{8} << 20;
  const uint64_t first = begin / kTogether * kTogether;
  const uint64_t last = end / kTogether * kTogether;
  if (first == last) return;
  ::sync_file_range(fd, static_cast<off_t>(first), static_cast<off_t>(last - first),
                    SYNC_FILE_RANGE_WRITE);
}

absl::Status WriteTemporary(const std::filesystem::path& temporary, std::string_view content) {
  const Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd.get() < 0) return ErrnoToStatus(errno, "create", temporary);
  RETURN_IF_ERROR(WriteAll(fd.get(), std::as_bytes(std::span(content)), temporary));
  if (::fdatasync(fd.get()) != 0) return ErrnoToStatus(errno, "sync", temporary);
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoToStatus(int error, std::string_view action, const std::filesystem::path& path) {
  const std::string message =
      fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      // No policy or role of a federation: those have an exit code of their own.
      return WithExitCode(absl::PermissionDeniedError(message), ExitCode::kFailed);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(
          fmt::format("disk full: {}; free some space and try again", message));
    case EISDIR:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const auto bytes = file.bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::StatusOr<std::string> ReadNamedFile(const std::filesystem::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status()) || absl::IsPermissionDenied(text.status())) {
    return absl::InvalidArgumentError(std::string(Message(text.status())));
  }
  return text;
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}{}", ::getpid(), kPartialSuffix);
  absl::Status status = WriteTemporary(temporary, content);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoToStatus(errno, "rename to", path);
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(path.parent_path());
}

absl::Status SyncDirectory(const std::filesystem::path& directory) {
  const Descriptor fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return ErrnoToStatus(errno, "sync", directory);
  return absl::OkStatus();
}

absl::Status RemovePartialFiles(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == kPartialSuffix) found.push_back(entry->path());
  }
  for (const std::filesystem::path& path : found) {
    if (!error) std::filesystem::remove(path, error);
  }
  return error ? ErrnoToStatus(error.value(), "clean up", directory) : absl::OkStatus();
}

absl::Status WriteAll(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  return WriteInParts(bytes, path, [fd](std::span<const std::byte> rest, size_t) {
    return ::write(fd, rest.data(), rest.size());
  });
}

absl::Status WriteAt(int fd, uint64_t offset, std::span<const std::byte> bytes,
                     const std::filesystem::path& path) {
  RETURN_IF_ERROR(WriteInParts(bytes, path, [&](std::span<const std::byte> rest, size_t done) {
    return ::pwrite(fd, rest.data(), rest.size(), static_cast<off_t>(offset + done));
  }));
  StartWritingOut(fd, offset, offset + bytes.size());
  return absl::OkStatus();
}

absl::Status ReadAt(int fd, uint64_t offset, std::span<std::byte> bytes,
                    const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t read = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return ErrnoToStatus(errno, "read", path);
    if (read == 0) {
      return absl::InternalError(fmt::format("{} ends at byte {}", path.string(), offset));
    }
    offset += static_cast<uint64_t>(read);
    bytes = bytes.subspan(static_cast<size_t>(read));
  }
  return absl::OkStatus();
}

absl::Status CopyFileDurably(const std::filesystem::path& from, const std::filesystem::path& to) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(from));
  const auto bytes = file.bytes();
  const Descriptor fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) return ErrnoToStatus(errno, "create", to);
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes, to));
  return ::fsync(fd.get()) == 0 ? absl::OkStatus() : ErrnoToStatus(errno, "sync", to);
}

absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoToStatus(errno, "rename to", to);
  return SyncDirectory(to.parent_path());
}

absl::Status MakeDirectories(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? ErrnoToStatus(error.value(), "make the folder", path) : absl::OkStatus();
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenedFile file, OpenToRead(path));
  const auto size = static_cast<size_t>(file.status.st_size);
  if (size == 0) return MappedFile({});
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor.get(), 0);
  if (start == MAP_FAILED) return ErrnoToStatus(errno, "map", path);
  return MappedFile({static_cast<const std::byte*>(start), size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MappedFile::Release(std::span<const std::byte> part) {
  if (part.empty()) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t into_page = reinterpret_cast<uintptr_t>(part.data()) % page;
  auto* first = const_cast<std::byte*>(part.data()) - into_page;
  // Advice: where it is not taken, nothing is lost.
  ::madvise(first, into_page + part.size(), MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace fedtune
