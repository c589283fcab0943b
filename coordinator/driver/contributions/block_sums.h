// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
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

  // The bytes that follow, in whatever pieces.
  void Add(std::span<const std::byte> bytes);

  // After the last ones: of a block that is not whole there is a sum from then on.
  void Finish();

  // Whether this block had these bytes.
  bool AreOf(size_t block, std::span<const std::byte> bytes) const;

  const std::vector<uint64_t>& sums() const { return sums_; }

 private:
  // Four sums side by side, as one waits for its last step.
  using Lanes = std::array<uint64_t, 4>;
  static_assert(kBlockBytes % sizeof(Lanes) == 0);

  // Of the bytes of one block.
  class Sum {
   public:
    void Add(std::span<const std::byte> bytes);
    uint64_t Finish() const;

    size_t size() const { return size_; }

   private:
    static void Mix(Lanes& lanes, const std::byte* bytes);

    Lanes lanes_ = {1, 2, 3, 4};
    std::array<std::byte, sizeof(Lanes)> rest_ = {};  // What does not fill the lanes yet.
    size_t size_ = 0;
  };

  std::vector<uint64_t> sums_;
  Sum open_;  // Of the block that is coming.
};

}  // namespace fedtune
