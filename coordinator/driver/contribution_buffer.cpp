// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contribution_buffer.h"

#include <cstring>
#include <utility>

#include "fmt/format.h"

namespace fedtune {

ContributionBuffer::ContributionBuffer(const ContributionHeader& header)
    : expected_(header.sha256), values_(header.size_bytes / sizeof(float)) {}

absl::Status ContributionBuffer::Append(uint64_t offset, std::string_view bytes) {
  const uint64_t size = values_.size() * sizeof(float);
  if (offset != received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution's chunk starts at byte {}, expected {}", offset, received_));
  }
  if (bytes.size() > size - received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution is longer than the {} bytes of its header", size));
  }
  if (bytes.empty()) return absl::OkStatus();
  std::memcpy(reinterpret_cast<char*>(values_.data()) + received_, bytes.data(), bytes.size());
  hash_.Update(bytes);
  received_ += bytes.size();
  return absl::OkStatus();
}

absl::StatusOr<std::span<const float>> ContributionBuffer::Finish() {
  const uint64_t size = values_.size() * sizeof(float);
  if (received_ != size) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution ended after {} of {} bytes", received_, size));
  }
  const Digest digest = std::move(hash_).Finish();
  if (digest != expected_) {
    return absl::InvalidArgumentError(fmt::format("the contribution's SHA-256 is {}, expected {}",
                                                  digest.ToHex(), expected_.ToHex()));
  }
  return std::span<const float>(values_);
}

}  // namespace fedtune
