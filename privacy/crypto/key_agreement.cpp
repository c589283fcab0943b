// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/key_agreement.h"

#include <openssl/evp.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {
namespace {

constexpr size_t kSharedBytes = 32;

}  // namespace

absl::StatusOr<SecretBytes> DeriveShared(EVP_PKEY* key, EVP_PKEY* peer) {
  const OpensslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  Check(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1,
        "OpenSSL offers key agreement");
  std::vector<uint8_t> shared(kSharedBytes);
  size_t size = shared.size();
  // OpenSSL refuses an X25519 result of zeros itself.
  const bool is_derived = EVP_PKEY_derive_set_peer(context.get(), peer) == 1 &&
                          EVP_PKEY_derive(context.get(), shared.data(), &size) == 1;
  SecretBytes secret(std::move(shared));
  if (!is_derived) {
    TakeOpensslError();
    return absl::InvalidArgumentError("this public key gives nothing secret to agree on");
  }
  Check(size == kSharedBytes, "a shared secret has 32 bytes");
  return secret;
}

}  // namespace fedtune
