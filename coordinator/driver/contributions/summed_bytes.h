// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "coordinator/driver/contributions/block_sums.h"
#include "coordinator/driver/contributions/spooled_bytes.h"

namespace fedtune {

// What a client has handed in, all of it: what is read of it later is what came, or it
// is noticed. Reading is thread-safe. Movable.
class SummedBytes {
 public:
  // `sums` are those of the bytes as they came; of bytes in memory they are not looked at.
  SummedBytes(SpooledBytes bytes, BlockSums sums)
      : bytes_(std::move(bytes)), sums_(std::move(sums)) {}

  // Requires: there are as many. DATA_LOSS: the file does not have the bytes that came.
  // INTERNAL: it is shorter, or cannot be read.
  absl::Status Read(uint64_t offset, std::span<std::byte> bytes) const;

  // Whether all of it can be read. Errors as Read().
  absl::Status Check() const;

  SpooledBytes& spooled() { return bytes_; }
  const SpooledBytes& spooled() const { return bytes_; }
  const BlockSums& sums() const { return sums_; }

 private:
  absl::Status ReadBlock(uint64_t block, std::span<std::byte> bytes) const;

  SpooledBytes bytes_;
  BlockSums sums_;
};

}  // namespace fedtune
