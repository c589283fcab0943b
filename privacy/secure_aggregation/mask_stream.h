// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/mask_kernels.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// The masks of one vector, each the keystream of AES-256-CTR under its key, from
// counter 0 on, read as little-endian elements of the ring. Random access costs
// nothing, so a vector can be masked chunk by chunk, in any order, by several
// threads.
//
//   MaskStreams masks(RingBits::k32);
//   masks.Add(shared_with_a_later_neighbour, MaskSign::kAdd);
//   masks.Apply(chunk * kChunkElements, values_of_the_chunk);
//
// Holds expanded keys and wipes them. Move-only. Apply() is thread-safe.
class MaskStreams {
 public:
  static constexpr int64_t kAlignment = 16;  // So many elements are whole blocks in every ring.

  // `kernel` is for tests and benchmarks: all give the same masks.
  explicit MaskStreams(RingBits ring, MaskKernel kernel = BestMaskKernel());

  // Requires: the key has 32 bytes, and is used for nothing else.
  void Add(const SecretBytes& key, MaskSign sign);

  int64_t count() const { return std::ssize(streams_); }
  RingBits ring() const { return ring_; }

  // values[i] += (or -=) element first + i of every stream, mod 2^b.
  // Requires: `first` is a multiple of kAlignment.
  void Apply(int64_t first, std::span<uint32_t> values) const;

 private:
  class Stream {
   public:
    Stream(const MaskKernelFunctions& functions, const SecretBytes& key, MaskSign sign);
    Stream(Stream&& other) noexcept = default;  // What it leaves behind is wiped, too.
    ~Stream();

    const AesSchedule& schedule() const { return schedule_; }
    MaskSign sign() const { return sign_; }

   private:
    AesSchedule schedule_;
    MaskSign sign_;
  };

  // Of the ring of 32 bits, whole granules that begin a cache line.
  void ApplyInPlace(int64_t first, std::span<uint32_t> values) const;
  template <typename Value>
  void ApplyWith(MaskKernelFunctions::Apply<Value> apply, int64_t first,
                 std::span<uint32_t> values) const;

  RingBits ring_;
  const MaskKernelFunctions* functions_;
  std::vector<Stream> streams_;
};

}  // namespace fedtune
