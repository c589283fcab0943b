// SPDX-License-Identifier: Apache-2.0

#include "client/round/packed_vector.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

// Does `work` for 0, ..., count - 1 on as many threads, this one among them. The
// first error ends it.
absl::Status ForEach(int64_t count, int threads,
                     const std::function<absl::Status(int64_t index)>& work) {
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  absl::Status failure;
  const auto run = [&] {
    for (int64_t index = next++; index < count; index = next++) {
      const absl::Status status = work(index);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      failure.Update(status);
      next = count;
    }
  };
  std::vector<std::jthread> helpers;
  const auto helper_count = std::min<int64_t>(threads, count) - 1;
  for (int64_t helper = 0; helper < helper_count; ++helper) helpers.emplace_back(run);
  run();
  helpers.clear();
  return failure;
}

}  // namespace

PackedVector::PackedVector(RingBits ring, int64_t elements, int threads)
    : ring_(ring),
      threads_(threads),
      packed_(static_cast<size_t>(elements) * BytesPerElement(ring)) {}

int64_t PackedVector::chunk_count() const {
  const auto chunk_bytes = static_cast<size_t>(kChunkElements) * BytesPerElement(ring_);
  return static_cast<int64_t>((packed_.size() + chunk_bytes - 1) / chunk_bytes);
}

std::span<uint8_t> PackedVector::Chunk(int64_t index) {
  const auto chunk_bytes = static_cast<size_t>(kChunkElements) * BytesPerElement(ring_);
  const size_t first = static_cast<size_t>(index) * chunk_bytes;
  return std::span(packed_).subspan(first, std::min(chunk_bytes, packed_.size() - first));
}

ByteSpan PackedVector::Chunk(int64_t index) const {
  return const_cast<PackedVector*>(this)->Chunk(index);
}

absl::StatusOr<PackedVector> PackedVector::Create(const MaskedVector& vector, RingBits ring,
                                                  int threads) {
  PackedVector made(ring, vector.element_count(), threads);
  const absl::Status status = ForEach(made.chunk_count(), threads, [&](int64_t index) {
    const std::span<uint8_t> chunk = made.Chunk(index);
    std::vector<uint32_t> elements(chunk.size() / BytesPerElement(ring));
    absl::Status read = vector.Read(index * kChunkElements, elements);
    if (read.ok()) PackRing(ring, elements, chunk);
    return read;
  });
  if (!status.ok()) return status;
  return made;
}

Digest PackedVector::Root() const {
  std::vector<Digest> leaves(static_cast<size_t>(chunk_count()));
  const absl::Status status = ForEach(chunk_count(), threads_, [&](int64_t index) {
    leaves[static_cast<size_t>(index)] = MerkleLeaf(Chunk(index));
    return absl::OkStatus();
  });
  Check(status.ok(), "hashing does not fail");
  return MerkleRoot(leaves);
}

void PackedVector::Mask(const MaskStreams& masks) {
  Check(masks.ring() == ring_, "masks are of the vector's ring");
  const absl::Status status = ForEach(chunk_count(), threads_, [&](int64_t index) {
    const std::span<uint8_t> chunk = Chunk(index);
    std::vector<uint32_t> elements(chunk.size() / BytesPerElement(ring_));
    AddPacked(ring_, chunk, elements);
    masks.Apply(index * kChunkElements, elements);
    PackRing(ring_, elements, chunk);
    return absl::OkStatus();
  });
  Check(status.ok(), "masking does not fail");
}

}  // namespace fedtune
