// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {
namespace {

OSSL_PARAM Octets(const char* name, std::span<const uint8_t> bytes) {
  // OpenSSL reads parameters through pointers that are not const.
  return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

SecretBytes HkdfSha256(std::span<const uint8_t> secret, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size) {
  const OpensslPtr<EVP_KDF> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  Check(kdf != nullptr, "OpenSSL offers HKDF");
  const OpensslPtr<EVP_KDF_CTX> context(EVP_KDF_CTX_new(kdf.get()));
  Check(context != nullptr, "OpenSSL makes an HKDF context");
  char digest[] = "SHA256";
  const uint8_t nothing = 0;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      Octets(OSSL_KDF_PARAM_KEY, secret.empty() ? std::span(&nothing, 0) : secret),
      Octets(OSSL_KDF_PARAM_SALT, salt.empty() ? std::span(&nothing, 0) : salt),
      Octets(OSSL_KDF_PARAM_INFO, info.empty() ? std::span(&nothing, 0) : info),
      OSSL_PARAM_construct_end()};
  std::vector<uint8_t> derived(size);
  Check(EVP_KDF_derive(context.get(), derived.data(), size, parameters) == 1,
        "HKDF-SHA256 gives at most 8160 bytes");
  return SecretBytes(std::move(derived));
}

}  // namespace fedtune
