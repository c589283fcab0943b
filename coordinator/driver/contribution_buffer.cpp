// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contribution_buffer.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr uint64_t kBlockValues = uint64_t{32} << 10;  // 128 KiB: fits a core's cache.

std::string_view AsText(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

ContributionBuffer::ContributionBuffer(const ContributionHeader& header, SpooledBytes bytes)
    : expected_(header.sha256),
      bytes_(std::move(bytes)),
      block_(std::min(kBlockValues, header.size_bytes / sizeof(float))) {}

absl::StatusOr<VerifiedValues> ContributionBuffer::Restore(const ContributionHeader& header,
                                                           const Spool& spool,
                                                           std::string_view name) {
  ASSIGN_OR_RETURN(SpooledBytes bytes, SpooledBytes::Find(spool, name, header.size_bytes));
  auto values = std::make_shared<SpooledValues>(std::move(bytes));
  ValueRange range;
  Sha256 hash;
  std::vector<float> block(kBlockValues);
  const uint64_t count = header.size_bytes / sizeof(float);
  for (uint64_t first = 0; first < count; first += kBlockValues) {
    const std::span part = std::span(block).first(std::min(kBlockValues, count - first));
    RETURN_IF_ERROR(values->Read(static_cast<int64_t>(first), part));
    hash.Update(AsText(part));
    range.Add(part);
  }
  if (std::move(hash).Finish() == header.sha256) {
    return VerifiedValues{.values = std::move(values), .range = range};
  }
  return absl::DataLossError(
      fmt::format("{} in the spool does not have the digest it came with", name));
}

absl::Status ContributionBuffer::Append(uint64_t offset, std::string_view bytes) {
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
  range_.Add(values);
  return bytes_.Append(AsText(values));
}

absl::StatusOr<VerifiedValues> ContributionBuffer::Finish() && {
  if (!complete()) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution ended after {} of {} bytes", received_, bytes_.size()));
  }
  const Digest digest = std::move(hash_).Finish();
  if (digest != expected_) {
    return absl::InvalidArgumentError(fmt::format("the contribution's SHA-256 is {}, expected {}",
                                                  digest.ToHex(), expected_.ToHex()));
  }
  RETURN_IF_ERROR(Flush());
  return VerifiedValues{.values = std::make_shared<SpooledValues>(std::move(bytes_)),
                        .range = range_};
}

}  // namespace fedtune
