// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contribution_buffer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr uint64_t kMaxBytesInMemory = uint64_t{4} << 20;
constexpr size_t kBlockValues = size_t{32} << 10;  // 128 KiB: fits a core's cache.

// The disk's trouble is not the client's fault: let it try again.
absl::Status TryAgain(const absl::Status& why) {
  return why.ok() ? why : absl::UnavailableError(fmt::format("{}", Message(why)));
}

}  // namespace

// Where the values of one contribution lie.
class ContributionBuffer::Store final : public ValueSource {
 public:
  // With a file for more values than memory is to hold.
  Store(uint64_t size_bytes, std::optional<NamelessFile> file) : file_(std::move(file)) {
    if (!file_.has_value()) memory_.reserve(size_bytes / sizeof(float));
  }

  absl::Status Append(std::span<const float> values) {
    const uint64_t offset = std::exchange(size_bytes_, size_bytes_ + values.size_bytes());
    if (file_.has_value()) return file_->Write(offset, std::as_bytes(values));
    memory_.insert(memory_.end(), values.begin(), values.end());
    return absl::OkStatus();
  }

  absl::Status Read(int64_t first, std::span<float> values) const override {
    if (file_.has_value()) {
      return file_->Read(static_cast<uint64_t>(first) * sizeof(float),
                         std::as_writable_bytes(values));
    }
    std::copy_n(memory_.begin() + first, values.size(), values.begin());
    return absl::OkStatus();
  }

 private:
  std::optional<NamelessFile> file_;
  std::vector<float> memory_;
  uint64_t size_bytes_ = 0;
};

ContributionBuffer::ContributionBuffer(const ContributionHeader& header,
                                       std::shared_ptr<Store> store)
    : expected_(header.sha256),
      size_(header.size_bytes),
      store_(std::move(store)),
      block_(std::min<uint64_t>(kBlockValues, header.size_bytes / sizeof(float))) {}

absl::StatusOr<ContributionBuffer> ContributionBuffer::Create(
    const ContributionHeader& header, const std::filesystem::path& directory) {
  std::optional<NamelessFile> file;
  if (header.size_bytes > kMaxBytesInMemory) {
    absl::StatusOr<NamelessFile> created = NamelessFile::Create(directory, header.size_bytes);
    RETURN_IF_ERROR(TryAgain(created.status()));
    file = *std::move(created);
  }
  return ContributionBuffer(header, std::make_shared<Store>(header.size_bytes, std::move(file)));
}

absl::Status ContributionBuffer::Append(uint64_t offset, std::string_view bytes) {
  if (offset != received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution's chunk starts at byte {}, expected {}", offset, received_));
  }
  if (bytes.size() > size_ - received_) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution is longer than the {} bytes of its header", size_));
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
  return TryAgain(store_->Append(values));
}

absl::StatusOr<VerifiedValues> ContributionBuffer::Finish() && {
  if (!complete()) {
    return absl::InvalidArgumentError(
        fmt::format("the contribution ended after {} of {} bytes", received_, size_));
  }
  const Digest digest = std::move(hash_).Finish();
  if (digest != expected_) {
    return absl::InvalidArgumentError(fmt::format("the contribution's SHA-256 is {}, expected {}",
                                                  digest.ToHex(), expected_.ToHex()));
  }
  RETURN_IF_ERROR(Flush());
  return VerifiedValues{.values = std::move(store_), .range = range_};
}

}  // namespace fedtune
