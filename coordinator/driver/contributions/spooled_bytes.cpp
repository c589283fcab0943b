// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/spooled_bytes.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr uint64_t kMostOfSmallOnes = uint64_t{4} << 20;

// The disk's trouble is not the client's fault: let it try again.
absl::Status TryAgain(const absl::Status& why) {
  return why.ok() ? why : absl::UnavailableError(fmt::format("{}", Message(why)));
}

}  // namespace

bool SpooledBytes::is_small() const { return size_ <= kMostOfSmallOnes; }

absl::StatusOr<SpooledBytes> SpooledBytes::Create(SpoolPack& pack, uint64_t size) {
  SpooledBytes bytes(size);
  if (size == 0) return bytes;
  if (bytes.is_small()) {
    absl::StatusOr<std::unique_ptr<SpoolPack::Place>> place = pack.NewPlace(size);
    RETURN_IF_ERROR(TryAgain(place.status()));
    bytes.place_ = *std::move(place);
    return bytes;
  }
  absl::StatusOr<SpoolFile> file = pack.NewFile(size);
  RETURN_IF_ERROR(TryAgain(file.status()));
  bytes.file_ = *std::move(file);
  return bytes;
}

absl::StatusOr<SpooledBytes> SpooledBytes::CreateOrGoOn(SpoolPack& pack, std::string_view slot,
                                                        const Digest& content, uint64_t size) {
  SpooledBytes bytes(size);
  if (bytes.is_small()) return Create(pack, size);
  absl::StatusOr<SpoolFile> file = pack.NewFileOrGoOn(slot, content.ToHex(), size);
  RETURN_IF_ERROR(TryAgain(file.status()));
  bytes.file_ = *std::move(file);
  const absl::StatusOr<uint64_t> there = bytes.file_->Size();
  RETURN_IF_ERROR(TryAgain(there.status()));
  bytes.received_ = *there;
  return bytes;
}

absl::Status SpooledBytes::CutOff(uint64_t size) {
  Check(size <= received_, "what has not come cannot be cut off");
  // The disk would give back, too, what it has taken for what is to come.
  if (size == received_) return absl::OkStatus();
  received_ = size;
  return is_small() ? absl::OkStatus() : TryAgain(file_->Truncate(size));
}

absl::StatusOr<SpooledBytes> SpooledBytes::Find(const Spool& spool, std::string_view name,
                                                uint64_t size, Spool::OpenFiles& open) {
  SpooledBytes bytes(size);
  bytes.received_ = size;
  if (size == 0) return bytes;
  if (bytes.is_small()) {
    ASSIGN_OR_RETURN(bytes.found_, spool.FindTogether(name, size, open));
  } else {
    ASSIGN_OR_RETURN(bytes.file_, spool.Find(name, size));
  }
  bytes.name_ = name;
  return bytes;
}

absl::Status SpooledBytes::Append(std::string_view bytes) {
  Check(bytes.size() <= size_ - received_, "more bytes than there is room for");
  const uint64_t offset = std::exchange(received_, received_ + bytes.size());
  if (bytes.empty()) return absl::OkStatus();
  const std::span<const std::byte> written = std::as_bytes(std::span(bytes));
  return TryAgain(is_small() ? place_->Write(offset, written) : file_->Write(offset, written));
}

absl::Status SpooledBytes::Read(uint64_t offset, std::span<std::byte> bytes) const {
  if (file_.has_value()) return file_->Read(offset, bytes);
  if (found_.has_value()) return found_->file->Read(found_->begin + offset, bytes);
  return bytes.empty() ? absl::OkStatus() : place_->Read(offset, bytes);
}

absl::Status SpooledBytes::Keep() {
  Check(!is_small(), "small ones are kept together");
  if (!name_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(TryAgain(file_->Keep()));
  name_ = file_->name();
  return absl::OkStatus();
}

absl::Status SpooledBytes::CheckCanKeep(const SpoolPack& pack) const {
  if (place_ == nullptr || !name_.empty() || pack.CanKeep(*place_)) return absl::OkStatus();
  return absl::UnavailableError("a sync of its file has failed; it is to be written anew");
}

absl::Status SpooledBytes::KeepTogether(SpoolPack& pack, std::span<SpooledBytes* const> all) {
  std::vector<SpooledBytes*> small;
  std::vector<SpoolPack::Place*> places;
  for (SpooledBytes* bytes : all) {
    if (bytes->place_ == nullptr || !bytes->name_.empty()) continue;
    small.push_back(bytes);
    places.push_back(bytes->place_.get());
  }
  if (small.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(TryAgain(pack.Keep(places)));
  for (SpooledBytes* bytes : small) bytes->name_ = bytes->place_->name();
  return absl::OkStatus();
}

void SpooledBytes::UnkeepTogether(std::span<SpooledBytes* const> all) {
  std::vector<SpoolPack::Place*> places;
  for (SpooledBytes* bytes : all) {
    if (bytes->place_ == nullptr || bytes->name_.empty()) continue;
    places.push_back(bytes->place_.get());
    bytes->name_.clear();
  }
  SpoolPack::Unkeep(places);
}

}  // namespace fedtune
