// SPDX-License-Identifier: Apache-2.0

// Compiled for AES-NI and SSSE3. Eight blocks are encrypted at a time, as many
// as hide the latency of an AES round.

#include "privacy/secure_aggregation/aes_expand_x86.h"
#include "privacy/secure_aggregation/mask_kernels_x86.h"

namespace fedtune {
namespace {

constexpr size_t kLanes = 8;

struct Blocks {
  __m128i of[kLanes];
};

inline Blocks Encrypt(const __m128i* round, uint64_t block) {
  const __m128i swap = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  Blocks blocks;
  for (size_t i = 0; i < kLanes; ++i) {
    const __m128i counter = _mm_set_epi64x(0, static_cast<int64_t>(block + i));
    blocks.of[i] = _mm_xor_si128(_mm_shuffle_epi8(counter, swap), round[0]);
  }
  for (int r = 1; r < kAesRounds; ++r) {
    for (size_t i = 0; i < kLanes; ++i) blocks.of[i] = _mm_aesenc_si128(blocks.of[i], round[r]);
  }
  for (size_t i = 0; i < kLanes; ++i) {
    blocks.of[i] = _mm_aesenclast_si128(blocks.of[i], round[kAesRounds]);
  }
  return blocks;
}

void Keystream(const AesSchedule& schedule, uint64_t block, uint8_t* out, size_t count) {
  const __m128i* const round = reinterpret_cast<const __m128i*>(schedule.bytes);
  for (size_t done = 0; done < count; done += kLanes) {
    const Blocks blocks = Encrypt(round, block + done);
    const size_t whole = count - done < kLanes ? count - done : kLanes;
    for (size_t i = 0; i < whole; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * (done + i)), blocks.of[i]);
    }
  }
}

// Adds 16 bytes of keystream to eight elements of 16 bits or four of 32, or 12
// bytes to four of 24.
template <size_t kBytes, bool kSubtract>
inline void ApplyRegister(const uint8_t* stream, __m128i* values) {
  __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(stream));
  const __m128i before = _mm_loadu_si128(values);
  if constexpr (kBytes == 2) {
    _mm_storeu_si128(values, kSubtract ? _mm_sub_epi16(before, mask) : _mm_add_epi16(before, mask));
    return;
  }
  if constexpr (kBytes == 3) {
    mask =
        _mm_shuffle_epi8(mask, _mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0));
  }
  _mm_storeu_si128(values, kSubtract ? _mm_sub_epi32(before, mask) : _mm_add_epi32(before, mask));
}

template <size_t kBytes, bool kSubtract, typename Value>
void ApplySigned(const AesSchedule& schedule, uint64_t block, Value* values, size_t count) {
  constexpr size_t kBlocks = kMaskGranule * kBytes / 16;
  constexpr size_t kLength = 16 / sizeof(Value);
  // The last elements of 24 bits are read with what stands behind them.
  alignas(64) uint8_t stream[16 * kBlocks + 16] = {};
  for (size_t done = 0; done < count; done += kMaskGranule) {
    Keystream(schedule, block + done * kBytes / 16, stream, kBlocks);
    for (size_t i = 0; i < kMaskGranule; i += kLength) {
      ApplyRegister<kBytes, kSubtract>(stream + kBytes * i,
                                       reinterpret_cast<__m128i*>(values + done + i));
    }
  }
}

template <size_t kBytes, typename Value>
void Apply(const AesSchedule& schedule, MaskSign sign, uint64_t block, Value* values,
           size_t count) {
  if (sign == MaskSign::kSubtract) return ApplySigned<kBytes, true>(schedule, block, values, count);
  ApplySigned<kBytes, false>(schedule, block, values, count);
}

}  // namespace

const MaskKernelFunctions kAesNiMaskKernel = {ExpandAesKey, Keystream, Apply<2, uint16_t>,
                                              Apply<3, uint32_t>, Apply<4, uint32_t>};

}  // namespace fedtune
