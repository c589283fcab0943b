// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/mask_stream.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {
namespace {

constexpr size_t kKeySize = 32;
constexpr size_t kBlock = 16;
constexpr int64_t kPiece = 4096;  // Elements whose keystream stays in the L1 cache.

OpensslPtr<EVP_CIPHER_CTX> Keystream(const SecretBytes& key, uint64_t block) {
  std::array<uint8_t, kBlock> counter = {};
  for (size_t i = 0; i < sizeof(block); ++i) {
    counter[kBlock - 1 - i] = static_cast<uint8_t>(block >> 8 * i);
  }
  OpensslPtr<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  Check(context != nullptr && EVP_EncryptInit_ex(context.get(), EVP_aes_256_ctr(), nullptr,
                                                 key.Reveal().data(), counter.data()) == 1,
        "OpenSSL offers AES-256-CTR");
  return context;
}

template <size_t kBytes>
void AddElements(const uint8_t* stream, MaskSign sign, std::span<uint32_t> values) {
  constexpr uint32_t kMask = RingMask(static_cast<RingBits>(8 * kBytes));
  for (uint32_t& value : values) {
    uint32_t element = 0;
    std::memcpy(&element, stream, kBytes);
    stream += kBytes;
    value = (sign == MaskSign::kAdd ? value + element : value - element) & kMask;
  }
}

void AddElements(RingBits ring, const uint8_t* stream, MaskSign sign, std::span<uint32_t> values) {
  switch (ring) {
    case RingBits::k16:
      return AddElements<2>(stream, sign, values);
    case RingBits::k24:
      return AddElements<3>(stream, sign, values);
    case RingBits::k32:
      return AddElements<4>(stream, sign, values);
  }
}

}  // namespace

void MaskStreams::Add(const SecretBytes& key, MaskSign sign) {
  Check(key.size() == kKeySize, "a mask's key has 32 bytes");
  const auto bytes = key.Reveal();
  streams_.push_back({SecretBytes({bytes.begin(), bytes.end()}), sign});
}

void MaskStreams::Apply(int64_t first, std::span<uint32_t> values) const {
  Check(first >= 0 && first % 16 == 0, "masks are applied from a multiple of 16 elements on");
  const size_t width = BytesPerElement(ring_);
  std::vector<uint8_t> zeros(kPiece * width);
  std::vector<uint8_t> stream(kPiece * width);
  for (const Stream& mask : streams_) {
    const auto context = Keystream(mask.key, static_cast<uint64_t>(first) * width / kBlock);
    for (size_t done = 0; done < values.size();) {
      const size_t count = std::min<size_t>(kPiece, values.size() - done);
      int written = 0;
      Check(EVP_EncryptUpdate(context.get(), stream.data(), &written, zeros.data(),
                              static_cast<int>(count * width)) == 1,
            "OpenSSL gives a keystream");
      AddElements(ring_, stream.data(), mask.sign, values.subspan(done, count));
      done += count;
    }
  }
}

}  // namespace fedtune
