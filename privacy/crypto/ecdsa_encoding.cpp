// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/ecdsa_encoding.h"

#include <openssl/bn.h>
#include <openssl/ec.h>

#include <algorithm>

#include "base/check.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {
namespace {

constexpr size_t kNumberSize = kP256SignatureSize / 2;
constexpr size_t kLongestDer = 80;

absl::Status NoSignature() {
  TakeOpensslError();
  return absl::InvalidArgumentError("the bytes are no ECDSA signature on P-256 in DER");
}

}  // namespace

std::vector<uint8_t> EcdsaToDer(std::span<const uint8_t> numbers) {
  Check(numbers.size() == kP256SignatureSize, "a P-256 signature is two numbers of 32 bytes");
  const OpensslPtr<ECDSA_SIG> parts(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(numbers.data(), kNumberSize, nullptr);
  BIGNUM* s = BN_bin2bn(numbers.data() + kNumberSize, kNumberSize, nullptr);
  Check(parts != nullptr && ECDSA_SIG_set0(parts.get(), r, s) == 1, "OpenSSL takes two numbers");
  std::vector<uint8_t> der(kLongestDer);
  unsigned char* next = der.data();
  const int size = i2d_ECDSA_SIG(parts.get(), &next);
  Check(size > 0, "OpenSSL writes a signature");
  der.resize(static_cast<size_t>(size));
  return der;
}

absl::StatusOr<std::vector<uint8_t>> EcdsaFromDer(std::span<const uint8_t> der) {
  if (der.size() > kLongestDer) return NoSignature();
  const unsigned char* next = der.data();
  const OpensslPtr<ECDSA_SIG> parts(d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(der.size())));
  if (parts == nullptr) return NoSignature();
  std::vector<uint8_t> numbers(kP256SignatureSize);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(parts.get()), numbers.data(), kNumberSize) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(parts.get()), numbers.data() + kNumberSize, kNumberSize) < 0 ||
      !std::ranges::equal(EcdsaToDer(numbers), der)) {
    return NoSignature();
  }
  return numbers;
}

}  // namespace fedtune
