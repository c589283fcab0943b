// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/blob_store.h"

#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/fail_point.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kUnfinished = ".partial";

absl::Status RemoveUnfinished(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> unfinished;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == kUnfinished) unfinished.push_back(entry.path());
  }
  for (const auto& path : unfinished) std::filesystem::remove(path, error);
  return error ? ErrnoToStatus(error.value(), "tidy up", directory) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<BlobStore> BlobStore::Open(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  RETURN_IF_ERROR(RemoveUnfinished(directory));
  return BlobStore(directory);
}

std::filesystem::path BlobStore::PathOf(const Digest& digest) const {
  return directory_ / digest.ToHex();
}

absl::Status BlobStore::Put(const Digest& digest, std::span<const std::byte> bytes) {
  const std::lock_guard lock(writing_);
  const std::filesystem::path path = PathOf(digest);
  std::error_code ignored;
  // A process before this one may have ended before it had synced the folder.
  if (std::filesystem::exists(path, ignored)) return SyncDirectory(directory_);
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kBlobWriteBefore));
  RETURN_IF_ERROR(
      WriteFileAtomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  ReachFailPoint(FailPoint::kBlobWriteAfter);
  return absl::OkStatus();
}

absl::StatusOr<Blob> BlobStore::Get(const Digest& digest) const {
  auto file = MappedFile::Open(PathOf(digest));
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(fmt::format("there is no blob {}", digest.ToString()));
  }
  RETURN_IF_ERROR(file.status());
  auto owner = std::make_shared<const MappedFile>(*std::move(file));
  const auto bytes = owner->bytes();
  return Blob(std::move(owner), bytes);
}

absl::Status BlobStore::Remove(const Digest& digest) {
  std::error_code error;
  std::filesystem::remove(PathOf(digest), error);
  return error ? ErrnoToStatus(error.value(), "remove", PathOf(digest)) : absl::OkStatus();
}

absl::Status BlobStore::RemoveAllBut(const std::set<Digest>& wanted) {
  std::error_code error;
  std::vector<Digest> unwanted;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const auto digest = Digest::Parse(entry.path().filename().string());
    if (digest.ok() && !wanted.contains(*digest)) unwanted.push_back(*digest);
  }
  if (error) return ErrnoToStatus(error.value(), "list", directory_);
  for (const Digest& digest : unwanted) RETURN_IF_ERROR(Remove(digest));
  return absl::OkStatus();
}

}  // namespace fedtune
