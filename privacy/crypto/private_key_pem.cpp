// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/private_key_pem.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <string>

#include "base/check.h"
#include "fmt/format.h"
#include "privacy/crypto/no_passphrase.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {

absl::StatusOr<OpensslPtr<EVP_PKEY>> ReadPrivateKeyPem(std::string_view pem) {
  if (pem.size() > kLongestPem) {
    return absl::InvalidArgumentError("this is too long for a private key in PEM");
  }
  const OpensslPtr<BIO> text(
      BIO_new_mem_buf(pem.empty() ? "" : pem.data(), static_cast<int>(pem.size())));
  Check(text != nullptr, "OpenSSL reads from memory");
  OpensslPtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(text.get(), nullptr, NoPassphrase, nullptr));
  if (key != nullptr) return key;
  const std::string reason = TakeOpensslError();
  if (pem.find("ENCRYPTED") != pem.npos) {
    return absl::InvalidArgumentError(
        "the key is protected by a passphrase, which a daemon cannot ask for; use a key without");
  }
  return absl::InvalidArgumentError(fmt::format("no private key in PEM ({})", reason));
}

}  // namespace fedtune
