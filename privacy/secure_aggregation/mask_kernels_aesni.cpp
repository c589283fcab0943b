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

// Four elements of the ring from the front of 16 bytes of keystream.
template <size_t kBytes>
inline __m128i Elements(__m128i stream) {
  if (kBytes == 4) return stream;
  const __m128i spread = kBytes == 2
                             ? _mm_set_epi8(-1, -1, 7, 6, -1, -1, 5, 4, -1, -1, 3, 2, -1, -1, 1, 0)
                             : _mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0);
  return _mm_shuffle_epi8(stream, spread);
}

template <size_t kBytes, bool kSubtract>
inline void ApplyFour(const uint8_t* stream, uint32_t* values) {
  const __m128i mask = Elements<kBytes>(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stream)));
  __m128i* const place = reinterpret_cast<__m128i*>(values);
  const __m128i before = _mm_loadu_si128(place);
  const __m128i after = kSubtract ? _mm_sub_epi32(before, mask) : _mm_add_epi32(before, mask);
  const __m128i ring = _mm_set1_epi32(static_cast<int>(~uint32_t{0} >> (32 - 8 * kBytes)));
  _mm_storeu_si128(place, kBytes == 4 ? after : _mm_and_si128(after, ring));
}

template <size_t kBytes, bool kSubtract>
void ApplySigned(const AesSchedule& schedule, uint64_t block, uint32_t* values, size_t count) {
  constexpr size_t kBlocks = kMaskGranule * kBytes / 16;
  // The last four elements are read with what stands behind them.
  alignas(64) uint8_t stream[16 * kBlocks + 16] = {};
  for (size_t done = 0; done < count; done += kMaskGranule) {
    Keystream(schedule, block + done * kBytes / 16, stream, kBlocks);
    for (size_t i = 0; i < kMaskGranule; i += 4) {
      ApplyFour<kBytes, kSubtract>(stream + kBytes * i, values + done + i);
    }
  }
}

template <size_t kBytes>
void Apply(const AesSchedule& schedule, MaskSign sign, uint64_t block, uint32_t* values,
           size_t count) {
  if (sign == MaskSign::kSubtract) return ApplySigned<kBytes, true>(schedule, block, values, count);
  ApplySigned<kBytes, false>(schedule, block, values, count);
}

}  // namespace

const MaskKernelFunctions kAesNiMaskKernel = {ExpandAesKey, Keystream, Apply<2>, Apply<3>,
                                              Apply<4>};

}  // namespace fedtune
