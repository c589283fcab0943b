// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// How the name of a file or folder ends that is not whole yet.
inline constexpr std::string_view kPartialSuffix = ".partial";

// The whole file. Every message names the file and what the system said.
// NOT_FOUND, PERMISSION_DENIED, INTERNAL. INVALID_ARGUMENT: it is a folder, pipe or device.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path);

// ReadFile() for a file that a person named, as a configuration or a plan: one
// that is not there or may not be read is wrong usage.
// INVALID_ARGUMENT, INTERNAL.
absl::StatusOr<std::string> ReadNamedFile(const std::filesystem::path& path);

// Writes beside `path`, syncs and renames: the final name never holds half a file.
// RESOURCE_EXHAUSTED: the disk is full (says where and how much was needed).
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

// Copies a file, byte by byte, and syncs the copy, which is not there before.
// NOT_FOUND, RESOURCE_EXHAUSTED, INTERNAL.
absl::Status CopyFileDurably(const std::filesystem::path& from, const std::filesystem::path& to);

// Gives `from` the name `to`, in the same file system, and syncs the folder of `to`.
// Errors as ErrnoToStatus().
absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to);

// INVALID_ARGUMENT or PERMISSION_DENIED when a folder cannot be made.
absl::Status MakeDirectories(const std::filesystem::path& path);

// Brings the names in `directory` onto the disk. INTERNAL.
absl::Status SyncDirectory(const std::filesystem::path& directory);

// Removes the files in `directory` that somebody who was killed has left half-written,
// by their name (kPartialSuffix). Requires: nobody writes one there.
absl::Status RemovePartialFiles(const std::filesystem::path& directory);

// Writes all of `bytes` behind what was written last. `path` names the file in messages.
// RESOURCE_EXHAUSTED: the disk is full (says how much was needed). Others as ErrnoToStatus().
absl::Status WriteAll(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path);

// The same from `offset` on. The disk is told to begin with so much at a time while more
// is coming: whoever syncs the file then waits for the rest alone. Only a hint, and errors
// of the disk are still there for the sync.
absl::Status WriteAt(int fd, uint64_t offset, std::span<const std::byte> bytes,
                     const std::filesystem::path& path);

// Reads all of `bytes` from `offset` on. INTERNAL: the file `path` is shorter, or cannot
// be read.
absl::Status ReadAt(int fd, uint64_t offset, std::span<std::byte> bytes,
                    const std::filesystem::path& path);

// Turns errno into a status that names `path` and what to do: NOT_FOUND, PERMISSION_DENIED,
// RESOURCE_EXHAUSTED (the disk is full), INVALID_ARGUMENT (it is a folder), else INTERNAL.
absl::Status ErrnoToStatus(int error, std::string_view action, const std::filesystem::path& path);

// A read-only view of a file that is paged in on first use. Movable.
class MappedFile {
 public:
  // Errors as ReadFile(). An empty file is allowed.
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

  // Tells the system that `part` of bytes() will not be needed soon, so that it does
  // not stay in this process's memory. It can still be read.
  static void Release(std::span<const std::byte> part);

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace fedtune
