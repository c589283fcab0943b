// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/masked_input.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

constexpr uint64_t kMaxBytesInMemory = uint64_t{4} << 20;
constexpr size_t kBlockElements = size_t{64} << 10;
constexpr std::string_view kLeafPrefix("\0", 1);  // RFC 6962.

absl::Status TryAgain(const absl::Status& why) {
  return why.ok() ? why : absl::UnavailableError(fmt::format("{}", Message(why)));
}

}  // namespace

MaskedInput::MaskedInput(const ContributionHeader& header, RingBits ring,
                         std::optional<NamelessFile> file)
    : expected_(header.sha256), size_(header.size_bytes), ring_(ring), file_(std::move(file)) {
  if (!file_.has_value()) memory_.reserve(size_);
}

absl::StatusOr<MaskedInput> MaskedInput::Create(const ContributionHeader& header, RingBits ring,
                                                const std::filesystem::path& directory) {
  std::optional<NamelessFile> file;
  if (header.size_bytes > kMaxBytesInMemory) {
    absl::StatusOr<NamelessFile> created = NamelessFile::Create(directory, header.size_bytes);
    RETURN_IF_ERROR(TryAgain(created.status()));
    file = *std::move(created);
  }
  return MaskedInput(header, ring, std::move(file));
}

absl::Status MaskedInput::Append(uint64_t offset, std::string_view bytes) {
  if (offset != received_) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input's chunk starts at byte {}, expected {}", offset, received_));
  }
  if (bytes.size() > size_ - received_) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input is longer than the {} bytes of its header", size_));
  }
  whole_.Update(bytes);
  if (file_.has_value()) {
    RETURN_IF_ERROR(TryAgain(file_->Write(received_, std::as_bytes(std::span(bytes)))));
  } else {
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  }
  received_ += bytes.size();
  const uint64_t chunk_size = kChunkElements * BytesPerElement(ring_);
  while (!bytes.empty()) {
    if (!chunk_.has_value()) chunk_.emplace().Update(kLeafPrefix);
    const size_t part = std::min<size_t>(bytes.size(), chunk_size - chunk_received_);
    chunk_->Update(bytes.substr(0, part));
    bytes.remove_prefix(part);
    chunk_received_ += part;
    if (chunk_received_ == chunk_size) EndChunk();
  }
  return absl::OkStatus();
}

void MaskedInput::EndChunk() {
  chunks_.push_back(std::move(*chunk_).Finish());
  chunk_.reset();
  chunk_received_ = 0;
}

absl::Status MaskedInput::Finish(const Digest& chunk_root) {
  if (received_ != size_) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input ended after {} of {} bytes", received_, size_));
  }
  if (chunk_.has_value()) EndChunk();
  const Digest digest = std::move(whole_).Finish();
  if (digest != expected_) {
    return absl::InvalidArgumentError(fmt::format("the masked input's SHA-256 is {}, expected {}",
                                                  digest.ToHex(), expected_.ToHex()));
  }
  if (MerkleRoot(chunks_) != chunk_root) {
    return absl::InvalidArgumentError("the masked input is not the one that its manifest signs");
  }
  return absl::OkStatus();
}

absl::Status MaskedInput::AddTo(std::span<uint32_t> sum) const {
  const size_t width = BytesPerElement(ring_);
  std::vector<uint8_t> block;
  for (size_t first = 0; first < sum.size(); first += kBlockElements) {
    const size_t count = std::min(kBlockElements, sum.size() - first);
    std::span<const uint8_t> packed;
    if (file_.has_value()) {
      block.resize(count * width);
      RETURN_IF_ERROR(file_->Read(first * width, std::as_writable_bytes(std::span(block))));
      packed = block;
    } else {
      packed = std::span(memory_).subspan(first * width, count * width);
    }
    AddPacked(ring_, packed, sum.subspan(first, count));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
