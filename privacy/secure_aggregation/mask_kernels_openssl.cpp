// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_kernels_openssl.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {
namespace {

constexpr size_t kBlockBytes = 16;
constexpr size_t kPieceElements = 16 * kMaskGranule;

// OpenSSL expands the key itself.
void KeepKey(const uint8_t* key, AesSchedule* schedule) {
  std::memset(schedule->bytes, 0, sizeof schedule->bytes);
  std::memcpy(schedule->bytes, key, 32);
}

void Keystream(const AesSchedule& schedule, uint64_t block, uint8_t* out, size_t blocks) {
  std::array<uint8_t, kBlockBytes> counter{};
  for (int i = 0; i < 8; ++i) counter[15 - i] = static_cast<uint8_t>(block >> (8 * i));
  const OpensslPtr<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  Check(context != nullptr && EVP_EncryptInit_ex(context.get(), EVP_aes_256_ctr(), nullptr,
                                                 schedule.bytes, counter.data()) == 1,
        "OpenSSL offers AES-256-CTR");
  constexpr size_t kMostBlocks = 1 << 20;  // OpenSSL counts bytes in an int.
  for (size_t done = 0; done < blocks; done += kMostBlocks) {
    const size_t bytes = std::min(kMostBlocks, blocks - done) * kBlockBytes;
    uint8_t* const place = out + done * kBlockBytes;
    std::memset(place, 0, bytes);
    int written = 0;
    Check(EVP_EncryptUpdate(context.get(), place, &written, place, static_cast<int>(bytes)) == 1,
          "AES-256-CTR takes bytes");
  }
}

template <RingBits kBits, typename Value>
void Apply(const AesSchedule& schedule, MaskSign sign, uint64_t block, Value* values,
           size_t count) {
  constexpr size_t kBytes = BytesPerElement(kBits);
  std::array<uint8_t, kPieceElements * kBytes> keystream;
  const uint32_t flip = sign == MaskSign::kSubtract ? ~uint32_t{0} : 0;
  for (size_t done = 0; done < count; done += kPieceElements) {
    const size_t piece = std::min(kPieceElements, count - done);
    Keystream(schedule, block + done * kBytes / kBlockBytes, keystream.data(),
              piece * kBytes / kBlockBytes);
    for (size_t i = 0; i < piece; ++i) {
      uint32_t mask = 0;
      for (size_t b = 0; b < kBytes; ++b) mask |= uint32_t{keystream[kBytes * i + b]} << (8 * b);
      // (m ^ ~0) + 1 is -m.
      values[done + i] = static_cast<Value>(values[done + i] + (mask ^ flip) - flip);
    }
  }
  OPENSSL_cleanse(keystream.data(), keystream.size());
}

}  // namespace

const MaskKernelFunctions kOpensslMaskKernel = {KeepKey, Keystream, Apply<RingBits::k16, uint16_t>,
                                                Apply<RingBits::k24, uint32_t>,
                                                Apply<RingBits::k32, uint32_t>};

}  // namespace fedtune
