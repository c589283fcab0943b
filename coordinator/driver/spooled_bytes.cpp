// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/spooled_bytes.h"

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

bool SpooledBytes::in_memory() const { return size_ <= kMaxBytesInMemory; }

absl::StatusOr<SpooledBytes> SpooledBytes::Create(const Spool& spool, const RunId& run,
                                                  uint64_t size) {
  SpooledBytes bytes(spool, run, size);
  if (bytes.in_memory()) {
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
  SpooledBytes bytes(spool, run, size);
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
  if (!in_memory()) return TryAgain(file_->Truncate(size));
  memory_.resize(size);
  return absl::OkStatus();
}

absl::StatusOr<SpooledBytes> SpooledBytes::Find(const Spool& spool, std::string_view name,
                                                uint64_t size) {
  SpooledBytes bytes(spool, {}, size);
  if (size == 0) return bytes;
  ASSIGN_OR_RETURN(bytes.file_, spool.Find(name, size));
  bytes.name_ = name;
  bytes.received_ = size;
  if (!bytes.in_memory()) return bytes;
  bytes.memory_.resize(size);
  RETURN_IF_ERROR(bytes.file_->Read(0, std::as_writable_bytes(std::span(bytes.memory_))));
  bytes.file_.reset();
  return bytes;
}

absl::Status SpooledBytes::Append(std::string_view bytes) {
  Check(bytes.size() <= size_ - received_, "more bytes than there is room for");
  const uint64_t offset = std::exchange(received_, received_ + bytes.size());
  if (!in_memory()) return TryAgain(file_->Write(offset, std::as_bytes(std::span(bytes))));
  memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::Status SpooledBytes::Read(uint64_t offset, std::span<std::byte> bytes) const {
  if (!in_memory()) return file_->Read(offset, bytes);
  Check(offset + bytes.size() <= memory_.size(), "bytes that are not there");
  if (!bytes.empty()) std::memcpy(bytes.data(), memory_.data() + offset, bytes.size());
  return absl::OkStatus();
}

absl::Status SpooledBytes::Keep() {
  if (!name_.empty() || size_ == 0) return absl::OkStatus();
  if (in_memory()) {
    absl::StatusOr<SpoolFile> file = spool_->Create(run_.value, size_);
    RETURN_IF_ERROR(TryAgain(file.status()));
    RETURN_IF_ERROR(TryAgain(file->Write(0, std::as_bytes(std::span(memory_)))));
    file_ = *std::move(file);
  }
  RETURN_IF_ERROR(TryAgain(file_->Keep()));
  name_ = file_->name();
  // A round may have more of them than a process may have files open.
  if (in_memory()) file_.reset();
  return absl::OkStatus();
}

absl::Status SpooledBytes::KeepTogether(SpoolPack& pack, std::span<SpooledBytes* const> all) {
  std::vector<SpooledBytes*> small;
  std::vector<std::span<const std::byte>> contents;
  for (SpooledBytes* bytes : all) {
    if (!bytes->in_memory() || bytes->size_ == 0 || !bytes->name_.empty()) continue;
    small.push_back(bytes);
    contents.push_back(std::as_bytes(std::span(bytes->memory_)));
  }
  if (small.empty()) return absl::OkStatus();
  absl::StatusOr<std::vector<std::string>> names = pack.Keep(contents);
  RETURN_IF_ERROR(TryAgain(names.status()));
  for (size_t i = 0; i < small.size(); ++i) small[i]->name_ = std::move((*names)[i]);
  return absl::OkStatus();
}

}  // namespace fedtune
