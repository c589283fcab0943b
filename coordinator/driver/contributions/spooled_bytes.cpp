// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/spooled_bytes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr uint64_t kMaxBytesInMemory = uint64_t{4} << 20;

// The disk's trouble is not the client's fault: let it try again.
absl::Status TryAgain(const absl::Status& why) {
  return why.ok() ? why : absl::UnavailableError(fmt::format("{}", Message(why)));
}

}  // namespace

bool SpooledBytes::is_small() const { return size_ <= kMaxBytesInMemory; }

absl::StatusOr<SpooledBytes> SpooledBytes::Create(const Spool& spool, const RunId& run,
                                                  uint64_t size) {
  SpooledBytes bytes(size);
  if (bytes.is_small()) {
    bytes.memory_.reserve(size);
    return bytes;
  }
  absl::StatusOr<SpoolFile> file = spool.Create(run.value, size);
  RETURN_IF_ERROR(TryAgain(file.status()));
  bytes.file_ = *std::move(file);
  return bytes;
}

absl::StatusOr<SpooledBytes> SpooledBytes::CreateOrGoOn(const Spool& spool, const RunId& run,
                                                        std::string_view slot,
                                                        const Digest& content, uint64_t size) {
  if (size <= kMaxBytesInMemory) return Create(spool, run, size);
  SpooledBytes bytes(size);
  absl::StatusOr<SpoolFile> file = spool.CreateOrGoOn(run.value, slot, content.ToHex(), size);
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
  if (!is_small()) return TryAgain(file_->Truncate(size));
  memory_.resize(size);
  return absl::OkStatus();
}

absl::StatusOr<SpooledBytes> SpooledBytes::Find(const Spool& spool, std::string_view name,
                                                uint64_t size, Spool::OpenFiles& open) {
  SpooledBytes bytes(size);
  bytes.received_ = size;
  if (size == 0) return bytes;
  if (bytes.is_small()) {
    ASSIGN_OR_RETURN(const KeptBytes kept, spool.FindTogether(name, size, open));
    bytes.Leave(kept);
    return bytes;
  }
  ASSIGN_OR_RETURN(bytes.file_, spool.Find(name, size));
  bytes.name_ = name;
  return bytes;
}

absl::Status SpooledBytes::Append(std::string_view bytes) {
  Check(bytes.size() <= size_ - received_, "more bytes than there is room for");
  const uint64_t offset = std::exchange(received_, received_ + bytes.size());
  if (!is_small()) return TryAgain(file_->Write(offset, std::as_bytes(std::span(bytes))));
  memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::Status SpooledBytes::Read(uint64_t offset, std::span<std::byte> bytes) const {
  if (file_.has_value()) return file_->Read(offset, bytes);
  if (packed_ != nullptr) return packed_->Read(begin_ + offset, bytes);
  Check(offset + bytes.size() <= memory_.size(), "bytes that are not there");
  if (!bytes.empty()) std::memcpy(bytes.data(), memory_.data() + offset, bytes.size());
  return absl::OkStatus();
}

absl::Status SpooledBytes::Keep() {
  Check(!is_small(), "small ones are kept together");
  if (!name_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(TryAgain(file_->Keep()));
  name_ = file_->name();
  return absl::OkStatus();
}

absl::Status SpooledBytes::KeepTogether(SpoolPack& pack, std::span<SpooledBytes* const> all) {
  std::vector<SpooledBytes*> small;
  std::vector<std::span<const std::byte>> contents;
  for (SpooledBytes* bytes : all) {
    if (!bytes->is_small() || bytes->size_ == 0 || !bytes->name_.empty()) continue;
    small.push_back(bytes);
    contents.push_back(std::as_bytes(std::span(bytes->memory_)));
  }
  if (small.empty()) return absl::OkStatus();
  absl::StatusOr<std::vector<KeptBytes>> kept = pack.Keep(contents);
  RETURN_IF_ERROR(TryAgain(kept.status()));
  for (size_t i = 0; i < small.size(); ++i) small[i]->Leave((*kept)[i]);
  return absl::OkStatus();
}

// To the pack, which has the bytes now.
void SpooledBytes::Leave(const KeptBytes& kept) {
  name_ = kept.name;
  packed_ = kept.file;
  begin_ = kept.begin;
  memory_ = {};
}

}  // namespace fedtune
