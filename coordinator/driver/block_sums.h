// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace fedtune {

// Checksums of bytes that lie in a file, block by block: a block that is read later is
// what was written, or it is noticed. Against disks, not against people. Thread-safe to
// read.
class BlockSums {
 public:
  BlockSums() = default;
  // Those that another one gave by sums().
  explicit BlockSums(std::vector<uint64_t> sums) : sums_(std::move(sums)) {}

  static constexpr size_t kBlockBytes = size_t{64} << 10;

  // That of one block, or of other bytes that are read together.
  static uint64_t Of(std::span<const std::byte> bytes);

  // The bytes that follow; each call but the last one brings whole blocks.
  void Add(std::span<const std::byte> bytes);

  // Whether this block had these bytes.
  bool AreOf(size_t block, std::span<const std::byte> bytes) const;

  const std::vector<uint64_t>& sums() const { return sums_; }

 private:
  std::vector<uint64_t> sums_;
};

}  // namespace fedtune
