// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/contribution_buffer.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Fits a core's cache.
constexpr uint64_t kBlockBytes = BlockSums::kBlockBytes;
constexpr uint64_t kBlockValues = kBlockBytes / sizeof(float);

std::string_view AsText(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

ContributionBuffer::ContributionBuffer(const ContributionHeader& header, SpooledBytes bytes)
    : expected_(header.sha256),
      bytes_(std::move(bytes)),
      block_(std::min(kBlockValues, header.size_bytes / sizeof(float))) {}

absl::StatusOr<ContributionBuffer> ContributionBuffer::Create(const ContributionHeader& header,
                                                              SpooledBytes bytes) {
  ContributionBuffer buffer(header, std::move(bytes));
  RETURN_IF_ERROR(buffer.ReadWhatWasLeft());
  return buffer;
}

// Whole blocks only, so that no value is cut in two.
absl::Status ContributionBuffer::ReadWhatWasLeft() {
  if (!bytes_.complete()) {
    RETURN_IF_ERROR(bytes_.CutOff(bytes_.received() / kBlockBytes * kBlockBytes));
  }
  for (; received_ < bytes_.received(); left_ = received_) {
    const std::span part = std::span(block_).first(
        std::min(kBlockBytes, bytes_.received() - received_) / sizeof(float));
    const absl::Status read = bytes_.Read(received_, std::as_writable_bytes(part));
    if (!read.ok()) return absl::UnavailableError(read.message());
    hash_.Update(AsText(part));
    Note(part);
    received_ += part.size_bytes();
  }
  return absl::OkStatus();
}

absl::Status ContributionBuffer::BeginAnew() {
  received_ = left_ = 0;
  range_ = {};
  sums_ = {};
  hash_ = {};
  return bytes_.CutOff(0);
}

absl::StatusOr<VerifiedValues> ContributionBuffer::Restore(
    const ContributionHeader& header, const Spool& spool, std::string_view name,
    const std::optional<SpooledContent>& content, Spool::OpenFiles& open) {
  ASSIGN_OR_RETURN(SpooledBytes bytes, SpooledBytes::Find(spool, name, header.size_bytes, open));
  if (content.has_value() && !bytes.is_small()) {
    return VerifiedValues{.values = std::make_shared<SpooledValues>(
                              SummedBytes(std::move(bytes), BlockSums(content->sums))),
                          .range = content->range};
  }
  ASSIGN_OR_RETURN(ContributionBuffer buffer, Create(header, std::move(bytes)));
  absl::StatusOr<VerifiedValues> verified = std::move(buffer).Finish();
  if (verified.ok()) return verified;
  return absl::DataLossError(
      fmt::format("{} in the spool is damaged: {}", name, Message(verified.status())));
}

absl::Status ContributionBuffer::Append(uint64_t offset, std::string_view bytes) {
  if (offset == 0 && left_ > 0 && received_ == left_) RETURN_IF_ERROR(BeginAnew());
  if (offset != received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution's chunk starts at byte {}, expected {}", offset, received_));
  }
  if (bytes.size() > bytes_.size() - received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution is longer than the {} bytes of its header", bytes_.size()));
  }
  received_ += bytes.size();
  hash_.Update(bytes);
  while (!bytes.empty()) {
    const std::span<std::byte> block = std::as_writable_bytes(std::span(block_));
    const size_t part = std::min(bytes.size(), block.size() - block_bytes_);
    std::memcpy(block.data() + block_bytes_, bytes.data(), part);
    block_bytes_ += part;
    bytes.remove_prefix(part);
    if (block_bytes_ == block.size()) RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status ContributionBuffer::Flush() {
  const std::span<const float> values(block_.data(),
                                      std::exchange(block_bytes_, 0) / sizeof(float));
  Note(values);
  return bytes_.Append(AsText(values));
}

void ContributionBuffer::Note(std::span<const float> values) {
  range_.Add(values);
  sums_.Add(std::as_bytes(values));
}

absl::StatusOr<VerifiedValues> ContributionBuffer::Finish() && {
  if (!complete()) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution ended after {} of {} bytes", received_, bytes_.size()));
  }
  const Digest digest = std::move(hash_).Finish();
  if (digest != expected_) {
    bytes_.Discard();
    const std::string what = fmt::format("the contribution's SHA-256 is {}, expected {}",
                                         digest.ToHex(), expected_.ToHex());
    return left_ > 0 ? absl::AbortedError(what) : absl::InvalidArgumentError(what);
  }
  RETURN_IF_ERROR(Flush());
  sums_.Finish();
  return VerifiedValues{
      .values = std::make_shared<SpooledValues>(SummedBytes(std::move(bytes_), std::move(sums_))),
      .range = range_};
}

}  // namespace fedtune
