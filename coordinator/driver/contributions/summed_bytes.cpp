// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/summed_bytes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::Status SummedBytes::Read(uint64_t offset, std::span<std::byte> bytes) const {
  std::vector<std::byte> whole;  // A block of which less is wanted.
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t block = (offset + done) / BlockSums::kBlockBytes;
    const uint64_t start = block * BlockSums::kBlockBytes;
    const uint64_t size = std::min<uint64_t>(BlockSums::kBlockBytes, bytes_.size() - start);
    const uint64_t skipped = offset + done - start;
    const uint64_t part = std::min(size - skipped, bytes.size() - done);
    if (part == size) {
      RETURN_IF_ERROR(ReadBlock(block, bytes.subspan(done, size)));
    } else {
      whole.resize(size);
      RETURN_IF_ERROR(ReadBlock(block, whole));
      std::memcpy(bytes.data() + done, whole.data() + skipped, part);
    }
    done += part;
  }
  return absl::OkStatus();
}

absl::Status SummedBytes::Check() const {
  std::vector<std::byte> block(BlockSums::kBlockBytes);
  for (uint64_t start = 0; start < bytes_.size(); start += BlockSums::kBlockBytes) {
    const uint64_t size = std::min<uint64_t>(BlockSums::kBlockBytes, bytes_.size() - start);
    RETURN_IF_ERROR(ReadBlock(start / BlockSums::kBlockBytes, std::span(block).first(size)));
  }
  return absl::OkStatus();
}

absl::Status SummedBytes::ReadBlock(uint64_t block, std::span<std::byte> bytes) const {
  RETURN_IF_ERROR(bytes_.Read(block * BlockSums::kBlockBytes, bytes));
  if (sums_.AreOf(block, bytes)) return absl::OkStatus();
  return absl::DataLossError(fmt::format("{} in the spool is damaged in its block {} of {} bytes",
                                         bytes_.name(), block, BlockSums::kBlockBytes));
}

}  // namespace fedtune
