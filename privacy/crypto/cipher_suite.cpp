// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/cipher_suite.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {

bool IsOffered(CipherSuite suite) {
  const bool is_nist = suite == CipherSuite::kNistP256;
  const OpensslPtr<EVP_PKEY_CTX> agreement(
      EVP_PKEY_CTX_new_from_name(nullptr, is_nist ? "EC" : "X25519", nullptr));
  const OpensslPtr<EVP_PKEY_CTX> signing(
      EVP_PKEY_CTX_new_from_name(nullptr, is_nist ? "EC" : "ED25519", nullptr));
  const bool is_offered = agreement != nullptr && signing != nullptr &&
                          EVP_PKEY_keygen_init(agreement.get()) == 1 &&
                          EVP_PKEY_keygen_init(signing.get()) == 1;
  ERR_clear_error();
  return is_offered;
}

}  // namespace fedtune
