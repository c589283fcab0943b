// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/secret_bytes.h"

#include <openssl/crypto.h>

namespace fedtune {

SecretBytes::~SecretBytes() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

bool operator==(const SecretBytes& a, const SecretBytes& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.bytes_.data(), b.bytes_.data(), a.size()) == 0;
}

}  // namespace fedtune
