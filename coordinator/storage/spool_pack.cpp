// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/spool_pack.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "base/check.h"
#include "base/status_macros.h"
#include "coordinator/storage/free_space.h"

namespace fedtune {
namespace {

// At which places begin: none shares a page of the disk's with another, which would be
// written for each of them, and what is written in blocks fills whole ones.
constexpr uint64_t kUnit = uint64_t{64} << 10;

// In whole units; two places never begin at the same byte.
uint64_t SpaceFor(uint64_t size) {
  return (std::max<uint64_t>(size, 1) + kUnit - 1) / kUnit * kUnit;
}

absl::Status Closed() { return absl::FailedPreconditionError("no more contributions are taken"); }

}  // namespace

// What of it is taken. Thread-safe, but for Keep().
class SpoolPack::File {
 public:
  explicit File(SpoolFile file) : file_(std::move(file)) {}

  // Space of this size that nobody needs: where it begins.
  uint64_t Take(uint64_t size) {
    const std::lock_guard lock(mutex_);
    const uint64_t begin = free_.Take(size);
    taken_.emplace(begin, Space{.size = size});
    return begin;
  }

  void GiveBack(uint64_t begin) {
    const std::lock_guard lock(mutex_);
    const auto taken = taken_.find(begin);
    taken->second.is_held = false;
    if (!taken->second.is_kept) Erase(taken);
  }

  // The disk gets back what nobody needs.
  void LetGoOfTheRest() {
    const std::lock_guard lock(mutex_);
    free_.ForEachGap([this](uint64_t begin, uint64_t size) { file_.LetGo(begin, size); });
  }

  void NoteKept(uint64_t begin, bool is_kept) {
    const std::lock_guard lock(mutex_);
    taken_.at(begin).is_kept = is_kept;
  }

  void Clear() {
    const std::lock_guard lock(mutex_);
    for (auto taken = taken_.begin(); taken != taken_.end();) {
      taken->second.is_kept = false;
      taken = taken->second.is_held ? std::next(taken) : Erase(taken);
    }
  }

  SpoolFile& spooled() { return file_; }

 private:
  struct Space {
    uint64_t size = 0;
    bool is_held = true;   // By a place.
    bool is_kept = false;  // And wanted.
  };

  using Spaces = std::map<uint64_t, Space>;  // By where they begin.

  Spaces::iterator Erase(Spaces::iterator taken) {
    free_.GiveBack(taken->first, taken->second.size);
    return taken_.erase(taken);
  }

  SpoolFile file_;
  std::mutex mutex_;
  Spaces taken_;
  FreeSpace free_;
};

SpoolPack::Place::Place(std::shared_ptr<File> file, uint64_t space)
    : file_(std::move(file)), begin_(file_->Take(space)) {}

SpoolPack::Place::~Place() { file_->GiveBack(begin_); }

absl::Status SpoolPack::Place::Write(uint64_t offset, std::span<const std::byte> bytes) {
  return file_->spooled().Write(begin_ + offset, bytes);
}

absl::Status SpoolPack::Place::Read(uint64_t offset, std::span<std::byte> bytes) const {
  return file_->spooled().Read(begin_ + offset, bytes);
}

std::string SpoolPack::Place::name() const { return Spool::NameIn(file_->spooled(), begin_); }

absl::StatusOr<std::shared_ptr<SpoolPack::File>> SpoolPack::OpenFile() {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return Closed();
  if (file_ == nullptr) {
    ASSIGN_OR_RETURN(SpoolFile file, spool_.Create(run_, 0));
    file_ = std::make_shared<File>(std::move(file));
  }
  return file_;
}

absl::StatusOr<std::unique_ptr<SpoolPack::Place>> SpoolPack::NewPlace(uint64_t size) {
  ASSIGN_OR_RETURN(std::shared_ptr<File> file, OpenFile());
  const uint64_t space = SpaceFor(size);
  std::unique_ptr<Place> place(new Place(file, space));
  absl::Status reserved = file->spooled().Reserve(place->begin_, space);
  if (reserved.ok()) return place;
  place.reset();
  file->LetGoOfTheRest();
  return reserved;
}

absl::StatusOr<SpoolFile> SpoolPack::NewFile(uint64_t size) const {
  return UnlessClosed(spool_.Create(run_, size));
}

absl::StatusOr<SpoolFile> SpoolPack::NewFileOrGoOn(std::string_view slot, std::string_view content,
                                                   uint64_t size) const {
  return UnlessClosed(spool_.CreateOrGoOn(run_, slot, content, size));
}

// Asked when the file has its name: who closes the pack before is seen here, and who does
// so later finds the file.
absl::StatusOr<SpoolFile> SpoolPack::UnlessClosed(absl::StatusOr<SpoolFile> made) const {
  const std::lock_guard lock(mutex_);
  if (!is_closed_ || !made.ok()) return made;
  made->Discard();
  return Closed();
}

bool SpoolPack::CanKeep(const Place& place) const {
  const std::lock_guard lock(mutex_);
  return place.file_ == file_;
}

absl::Status SpoolPack::Keep(std::span<Place* const> places) {
  if (places.empty()) return absl::OkStatus();
  const bool can_all =
      std::all_of(places.begin(), places.end(), [this](const Place* p) { return CanKeep(*p); });
  Check(can_all, "what lies in a file that was given up is written anew");
  const std::shared_ptr<File> file = places.front()->file_;
  if (absl::Status kept = file->spooled().Keep(); !kept.ok()) {
    // Nobody knows what a file holds whose sync has failed; what it kept before is there.
    GiveUpFile();
    return kept;
  }
  for (const Place* place : places) file->NoteKept(place->begin_, true);
  return absl::OkStatus();
}

void SpoolPack::Unkeep(std::span<Place* const> places) {
  for (const Place* place : places) place->file_->NoteKept(place->begin_, false);
}

// While no other file can be made, which would be set aside.
std::function<void()> SpoolPack::Clear() {
  const std::lock_guard lock(mutex_);
  if (file_ == nullptr) return spool_.SetAside(run_, {});
  file_->Clear();
  return spool_.SetAside(run_, {file_->spooled().name()});
}

void SpoolPack::Close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  file_.reset();
}

void SpoolPack::GiveUpFile() {
  const std::lock_guard lock(mutex_);
  file_.reset();
}

}  // namespace fedtune
