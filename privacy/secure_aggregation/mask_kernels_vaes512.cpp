// SPDX-License-Identifier: Apache-2.0

// Compiled for VAES and AVX-512 (F, BW, DQ, VL). A register holds four blocks; a
// dozen registers in flight hide the latency of an AES round, and masks are added
// from the registers they are made in.

#include "privacy/secure_aggregation/aes_expand_x86.h"
#include "privacy/secure_aggregation/mask_kernels_x86.h"

namespace fedtune {
namespace {

constexpr size_t kBlocksPerRegister = 4;

template <size_t kRegisters>
struct Blocks {
  __m512i of[kRegisters];
};

struct RoundKeys {
  __m512i of[kAesRounds + 1];
};

inline RoundKeys Broadcast(const AesSchedule& schedule) {
  const __m128i* const round = reinterpret_cast<const __m128i*>(schedule.bytes);
  RoundKeys keys;
  for (int r = 0; r <= kAesRounds; ++r) keys.of[r] = _mm512_broadcast_i32x4(round[r]);
  return keys;
}

// The keystream from `block` on; moves `counter` behind it. Counters are kept as
// two little-endian words, the lower in front.
template <size_t kRegisters>
inline Blocks<kRegisters> Encrypt(const RoundKeys& keys, __m512i* counter) {
  const __m512i swap =
      _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i step = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
  Blocks<kRegisters> blocks;
#pragma GCC unroll 16
  for (size_t i = 0; i < kRegisters; ++i) {
    blocks.of[i] = _mm512_xor_si512(_mm512_shuffle_epi8(*counter, swap), keys.of[0]);
    *counter = _mm512_add_epi64(*counter, step);
  }
#pragma GCC unroll 16
  for (int r = 1; r < kAesRounds; ++r) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kRegisters; ++i) {
      blocks.of[i] = _mm512_aesenc_epi128(blocks.of[i], keys.of[r]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kRegisters; ++i) {
    blocks.of[i] = _mm512_aesenclast_epi128(blocks.of[i], keys.of[kAesRounds]);
  }
  return blocks;
}

inline __m512i CounterAt(uint64_t block) {
  const auto b = static_cast<int64_t>(block);
  return _mm512_set_epi64(0, b + 3, 0, b + 2, 0, b + 1, 0, b);
}

void Keystream(const AesSchedule& schedule, uint64_t block, uint8_t* out, size_t count) {
  constexpr size_t kRegisters = 8;
  constexpr size_t kStep = kRegisters * kBlocksPerRegister;
  const RoundKeys keys = Broadcast(schedule);
  __m512i counter = CounterAt(block);
  size_t done = 0;
  for (; done + kStep <= count; done += kStep) {
    const Blocks<kRegisters> blocks = Encrypt<kRegisters>(keys, &counter);
    for (size_t i = 0; i < kRegisters; ++i) {
      _mm512_storeu_si512(out + 16 * (done + kBlocksPerRegister * i), blocks.of[i]);
    }
  }
  for (; done < count; done += kBlocksPerRegister) {
    const Blocks<1> blocks = Encrypt<1>(keys, &counter);
    const size_t words =
        2 * (count - done < kBlocksPerRegister ? count - done : kBlocksPerRegister);
    _mm512_mask_storeu_epi64(out + 16 * done, static_cast<__mmask8>((1u << words) - 1),
                             blocks.of[0]);
  }
}

// Adds a register of elements, spread to the width of `Value`.
template <size_t kBytes, bool kSubtract, typename Value>
inline void ApplyRegister(__m512i mask, Value* values) {
  const __m512i before = _mm512_loadu_si512(values);
  if constexpr (kBytes == 2) {
    _mm512_storeu_si512(
        values, kSubtract ? _mm512_sub_epi16(before, mask) : _mm512_add_epi16(before, mask));
    return;
  }
  _mm512_storeu_si512(values,
                      kSubtract ? _mm512_sub_epi32(before, mask) : _mm512_add_epi32(before, mask));
}

// Sixteen elements of 24 bits from the 48 bytes at word `from` of two registers.
inline __m512i Spread24(__m512i low, __m512i high, int from) {
  const __m512i words = _mm512_add_epi32(
      _mm512_set_epi32(0, 11, 10, 9, 0, 8, 7, 6, 0, 5, 4, 3, 0, 2, 1, 0), _mm512_set1_epi32(from));
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0));
  return _mm512_shuffle_epi8(_mm512_permutex2var_epi32(low, words, high), bytes);
}

template <bool kSubtract>
inline void ApplyStep24(const Blocks<12>& stream, uint32_t* values) {
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const __m512i a = stream.of[3 * i];
    const __m512i b = stream.of[3 * i + 1];
    const __m512i c = stream.of[3 * i + 2];
    ApplyRegister<3, kSubtract>(Spread24(a, a, 0), values + 64 * i);
    ApplyRegister<3, kSubtract>(Spread24(a, b, 12), values + 64 * i + 16);
    ApplyRegister<3, kSubtract>(Spread24(b, c, 8), values + 64 * i + 32);
    ApplyRegister<3, kSubtract>(Spread24(c, c, 4), values + 64 * i + 48);
  }
}

template <size_t kBytes, bool kSubtract, typename Value>
inline void ApplyStep(const Blocks<8>& stream, Value* values) {
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) {
    ApplyRegister<kBytes, kSubtract>(stream.of[i], values + i * 64 / kBytes);
  }
}

template <size_t kBytes, bool kSubtract, typename Value>
void ApplySigned(const AesSchedule& schedule, uint64_t block, Value* values, size_t count) {
  constexpr size_t kRegisters = kBytes == 3 ? 12 : 8;
  constexpr size_t kStep = kRegisters * 64 / kBytes;
  static_assert(kMaskGranule % kStep == 0);
  const RoundKeys keys = Broadcast(schedule);
  __m512i counter = CounterAt(block);
  for (size_t done = 0; done < count; done += kStep) {
    const Blocks<kRegisters> stream = Encrypt<kRegisters>(keys, &counter);
    if constexpr (kBytes == 3) {
      ApplyStep24<kSubtract>(stream, values + done);
    } else {
      ApplyStep<kBytes, kSubtract>(stream, values + done);
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

const MaskKernelFunctions kVaes512MaskKernel = {ExpandAesKey, Keystream, Apply<2, uint16_t>,
                                                Apply<3, uint32_t>, Apply<4, uint32_t>};

}  // namespace fedtune
