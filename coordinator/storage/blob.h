// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace fedtune {

// Bytes that stay as they are for as long as someone holds them, wherever they
// lie: in memory or in a mapped file. Cheap to copy; thread-safe.
class Blob {
 public:
  Blob() = default;

  // `bytes` lie in `owner`.
  Blob(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  std::span<const std::byte> bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

}  // namespace fedtune
