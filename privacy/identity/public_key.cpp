// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/public_key.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>
#include <string_view>

#include "base/check.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {

absl::Status CheckIsP256(const EVP_PKEY* key) {
  std::array<char, 32> group{};
  const bool named = key != nullptr && EVP_PKEY_is_a(key, "EC") == 1 &&
                     EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1;
  if (named && std::string_view(group.data()) == "prime256v1") return absl::OkStatus();
  TakeOpensslError();
  return absl::InvalidArgumentError(
      "the key is not a P-256 key (prime256v1), the kind in use here");
}

Digest KeyFingerprint(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  Check(size > 0, "a P-256 key has an encoding");
  const Digest digest = Sha256Of(std::string_view(reinterpret_cast<char*>(der), size));
  OPENSSL_free(der);
  return digest;
}

}  // namespace fedtune
