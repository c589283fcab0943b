// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

enum class MaskSign : uint8_t { kAdd, kSubtract };

// The ways to compute the same masks. Only tests and benchmarks name one.
enum class MaskKernel : uint8_t { kOpenssl, kAesNi, kVaes512 };

// The round keys of AES-256, the key itself first. Whoever owns one wipes it.
struct alignas(64) AesSchedule {
  uint8_t bytes[240];
};

// Kernels work on so many elements at a time: a whole number of AES blocks and
// of vector registers in every ring.
inline constexpr size_t kMaskGranule = 256;

// What a kernel is: AES-256-CTR with a counter that starts at 0. All of these
// are thread-safe.
struct MaskKernelFunctions {
  // Fills the schedule from a key of 32 bytes.
  void (*expand)(const uint8_t* key, AesSchedule* schedule);

  // Writes the keystream from block `block` on, 16 bytes each.
  void (*keystream)(const AesSchedule& schedule, uint64_t block, uint8_t* out, size_t blocks);

  // values[i] += or -= the element at i of the keystream from block `block` on.
  // Values wrap around at their own width: the ring of 24 bits leaves bits above
  // it to be cut off, and that of 16 has packed values, so that the keystream is
  // added as it is. Requires: `count` is a multiple of kMaskGranule.
  template <typename Value>
  using Apply = void (*)(const AesSchedule& schedule, MaskSign sign, uint64_t block, Value* values,
                         size_t count);
  Apply<uint16_t> apply16;
  Apply<uint32_t> apply24;
  Apply<uint32_t> apply32;
};

// Those that this build has and this machine (processor and operating system)
// can run, slowest first; OpenSSL's is always there. Looked up once.
const std::vector<MaskKernel>& AvailableMaskKernels();

// The fastest of them.
MaskKernel BestMaskKernel();

// Requires: it is available.
const MaskKernelFunctions& FunctionsOf(MaskKernel kernel);

std::string_view NameOf(MaskKernel kernel);

}  // namespace fedtune
