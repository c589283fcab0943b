// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/fail_point.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::StatusOr<Blob> Map(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto owner = std::make_shared<const MappedFile>(std::move(file));
  const auto bytes = owner->bytes();
  return Blob(std::move(owner), bytes);
}

}  // namespace

// A file beside its place until it is kept.
class BlobStore::Draft final : public BlobDraft {
 public:
  Draft(BlobStore& store, int fd, std::filesystem::path path, uint64_t size, Judge judge)
      : BlobDraft(size), store_(store), fd_(fd), path_(std::move(path)), judge_(std::move(judge)) {}
  ~Draft() override {
    ::close(fd_);
    if (!is_kept_) ::unlink(path_.c_str());
  }

  absl::Status TakeSpace();
  absl::StatusOr<Blob> blob() const override { return Map(path_); }
  absl::Status Keep(const Digest& digest) override { return judge_(Store(digest)); }
  bool can_be_kept() const override { return !is_lost_; }

 private:
  absl::Status Put(uint64_t offset, std::span<const std::byte> piece) override;
  absl::Status Get(uint64_t offset, std::span<std::byte> piece) const override;
  absl::Status Store(const Digest& digest);
  absl::Status Sync();

  BlobStore& store_;
  const int fd_;
  std::filesystem::path path_;  // Its name, once it is kept.
  const Judge judge_;
  bool is_synced_ = false;
  bool is_kept_ = false;
  bool is_lost_ = false;  // A sync has failed.
};

absl::Status BlobStore::Draft::TakeSpace() {
  const auto size = static_cast<off_t>(this->size());
  if (size == 0 || ::fallocate(fd_, 0, 0, size) == 0) return absl::OkStatus();
  if (errno == EOPNOTSUPP && ::ftruncate(fd_, size) == 0) return absl::OkStatus();
  return judge_(ErrnoToStatus(errno, fmt::format("write {} to", HumanBytes(this->size())), path_));
}

absl::Status BlobStore::Draft::Put(uint64_t offset, std::span<const std::byte> piece) {
  return judge_(WriteAt(fd_, offset, piece, path_));
}

absl::Status BlobStore::Draft::Get(uint64_t offset, std::span<std::byte> piece) const {
  return judge_(ReadAt(fd_, offset, piece, path_));
}

absl::Status BlobStore::Draft::Sync() {
  if (is_synced_) return absl::OkStatus();
  if (is_lost_) {
    return absl::ResourceExhaustedError("a sync of it has failed; it is to be made anew");
  }
  is_lost_ = ::fdatasync(fd_) != 0;
  if (is_lost_) return ErrnoToStatus(errno, "sync", path_);
  is_synced_ = true;
  return absl::OkStatus();
}

absl::Status BlobStore::Draft::Store(const Digest& digest) {
  const std::lock_guard lock(store_.mutex_);
  const std::filesystem::path path = store_.PathOf(digest);
  std::error_code ignored;
  // A process before this one may have ended before it had synced the folder.
  if (std::filesystem::exists(path, ignored)) return SyncDirectory(store_.directory_);
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kBlobWriteBefore));
  RETURN_IF_ERROR(Sync());
  if (::rename(path_.c_str(), path.c_str()) != 0) return ErrnoToStatus(errno, "rename to", path);
  is_kept_ = true;
  path_ = path;
  RETURN_IF_ERROR(SyncDirectory(store_.directory_));
  ReachFailPoint(FailPoint::kBlobWriteAfter);
  return absl::OkStatus();
}

absl::StatusOr<BlobStore> BlobStore::Open(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  if (::chmod(directory.c_str(), S_IRWXU) != 0) return ErrnoToStatus(errno, "protect", directory);
  RETURN_IF_ERROR(RemovePartialFiles(directory));
  return BlobStore(directory);
}

std::filesystem::path BlobStore::PathOf(const Digest& digest) const {
  return directory_ / digest.ToHex();
}

absl::Status BlobStore::Put(const Digest& digest, std::span<const std::byte> bytes) {
  std::error_code ignored;
  if (std::filesystem::exists(PathOf(digest), ignored)) return SyncDirectory(directory_);
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobDraft> draft,
                   NewDraft(bytes.size(), [](absl::Status status) { return status; }));
  RETURN_IF_ERROR(draft->Write(0, bytes));
  return draft->Keep(digest);
}

absl::StatusOr<std::unique_ptr<BlobDraft>> BlobStore::NewDraft(uint64_t size, Judge judge) {
  int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = drafts_++;
  }
  const std::filesystem::path path =
      directory_ / fmt::format("draft-{}.{}{}", number, ::getpid(), kPartialSuffix);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return judge(ErrnoToStatus(errno, "create", path));
  auto draft = std::make_unique<Draft>(*this, fd, path, size, std::move(judge));
  RETURN_IF_ERROR(draft->TakeSpace());
  return draft;
}

absl::StatusOr<Blob> BlobStore::Get(const Digest& digest) const {
  absl::StatusOr<Blob> blob = Map(PathOf(digest));
  if (!absl::IsNotFound(blob.status())) return blob;
  return absl::NotFoundError(fmt::format("there is no blob {}", digest.ToString()));
}

absl::Status BlobStore::Remove(const Digest& digest) {
  const std::filesystem::path path = PathOf(digest);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::error_code error;
  std::filesystem::remove(path, error);
  if (fd >= 0) {
    const std::lock_guard lock(mutex_);
    freeing_ = std::jthread([fd] { ::close(fd); });
  }
  return error ? ErrnoToStatus(error.value(), "remove", path) : absl::OkStatus();
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
