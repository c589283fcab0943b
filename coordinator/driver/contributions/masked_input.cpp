// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/masked_input.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/secure_aggregation/messages.h"

namespace fedtune {
namespace {

constexpr size_t kBlockBytes = size_t{64} << 10;
constexpr std::string_view kLeafPrefix("\0", 1);  // RFC 6962.

}  // namespace

void ChunkRoot::Update(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!chunk_.has_value()) chunk_.emplace().Update(kLeafPrefix);
    const size_t part = std::min<size_t>(bytes.size(), chunk_size_ - chunk_received_);
    chunk_->Update(bytes.substr(0, part));
    bytes.remove_prefix(part);
    chunk_received_ += part;
    if (chunk_received_ == chunk_size_) EndChunk();
  }
}

void ChunkRoot::EndChunk() {
  chunks_.push_back(std::move(*chunk_).Finish());
  chunk_.reset();
  chunk_received_ = 0;
}

Digest ChunkRoot::Finish() {
  if (chunk_.has_value()) EndChunk();
  return MerkleRoot(chunks_);
}

absl::StatusOr<MaskedInput> MaskedInput::Create(RingBits ring, SpooledBytes bytes) {
  MaskedInput input(ring, std::move(bytes));
  RETURN_IF_ERROR(input.ReadWhatWasLeft());
  return input;
}

absl::Status MaskedInput::ReadWhatWasLeft() {
  std::vector<char> block(kBlockBytes);
  for (; received_ < bytes_.received(); left_ = received_) {
    const std::span part =
        std::span(block).first(std::min<uint64_t>(block.size(), bytes_.received() - received_));
    const absl::Status read = bytes_.Read(received_, std::as_writable_bytes(part));
    if (!read.ok()) return absl::UnavailableError(read.message());
    Note({part.data(), part.size()});
    received_ += part.size();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<MaskedElements>> MaskedInput::Restore(
    const ContributionHeader& header, RingBits ring, const Spool& spool, std::string_view name,
    const std::optional<SpooledContent>& content, Spool::OpenFiles& open) {
  ASSIGN_OR_RETURN(SpooledBytes bytes, SpooledBytes::Find(spool, name, header.size_bytes, open));
  if (content.has_value() && !bytes.is_small()) {
    return std::make_shared<MaskedElements>(
        ring, SummedBytes(std::move(bytes), BlockSums(content->sums)));
  }
  ASSIGN_OR_RETURN(const InputManifest manifest, DecodeInputManifest(header.input_manifest));
  ASSIGN_OR_RETURN(MaskedInput input, Create(ring, std::move(bytes)));
  auto elements = std::move(input).Finish(manifest.chunk_root);
  if (elements.ok()) return elements;
  return absl::DataLossError(
      fmt::format("{} in the spool is not what its client has signed", name));
}

absl::Status MaskedInput::Append(uint64_t offset, std::string_view bytes) {
  if (offset == 0 && left_ > 0 && received_ == left_) {
    received_ = left_ = 0;
    root_ = ChunkRoot(ring_);
    sums_ = {};
    RETURN_IF_ERROR(bytes_.CutOff(0));
  }
  if (offset != received_) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input's chunk starts at byte {}, expected {}", offset, received_));
  }
  if (bytes.size() > bytes_.size() - received_) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input is longer than the {} bytes of its header", bytes_.size()));
  }
  received_ += bytes.size();
  Note(bytes);
  return bytes_.Append(bytes);
}

void MaskedInput::Note(std::string_view bytes) {
  root_.Update(bytes);
  sums_.Add(std::as_bytes(std::span(bytes)));
}

absl::StatusOr<std::shared_ptr<MaskedElements>> MaskedInput::Finish(const Digest& chunk_root) && {
  if (!complete()) {
    return absl::InvalidArgumentError(
        fmt::format("the masked input ended after {} of {} bytes", received_, bytes_.size()));
  }
  if (root_.Finish() == chunk_root) {
    sums_.Finish();
    return std::make_shared<MaskedElements>(ring_,
                                            SummedBytes(std::move(bytes_), std::move(sums_)));
  }
  bytes_.Discard();
  constexpr char kWhat[] = "the masked input is not the one that its manifest signs";
  return left_ > 0 ? absl::AbortedError(kWhat) : absl::InvalidArgumentError(kWhat);
}

absl::Status MaskedElements::AddTo(int64_t first, std::span<uint32_t> sum) const {
  const size_t width = BytesPerElement(ring_);
  std::vector<uint8_t> packed(sum.size() * width);
  RETURN_IF_ERROR(
      bytes_.Read(static_cast<uint64_t>(first) * width, std::as_writable_bytes(std::span(packed))));
  AddPacked(ring_, packed, sum);
  return absl::OkStatus();
}

std::optional<SpooledContent> MaskedElements::content() const {
  if (bytes_.spooled().is_small()) return std::nullopt;
  return SpooledContent{.range = {}, .sums = bytes_.sums().sums()};
}

}  // namespace fedtune
