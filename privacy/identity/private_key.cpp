// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/private_key.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "privacy/crypto/p256.h"
#include "privacy/crypto/private_key_pem.h"
#include "privacy/identity/private_file.h"
#include "privacy/identity/public_key.h"

namespace fedtune {

PrivateKey PrivateKey::Generate() {
  OpensslPtr<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Check(key != nullptr, "OpenSSL makes P-256 keys");
  return PrivateKey(std::move(key));
}

absl::StatusOr<PrivateKey> PrivateKey::ParsePem(std::string_view pem) {
  ASSIGN_OR_RETURN(OpensslPtr<EVP_PKEY> key, ReadPrivateKeyPem(pem));
  RETURN_IF_ERROR(CheckIsP256(key.get()));
  RETURN_IF_ERROR(CheckP256Pair(key.get()));
  return PrivateKey(std::move(key));
}

absl::StatusOr<PrivateKey> PrivateKey::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const SecretBytes pem, ReadPrivateFile(path));
  absl::StatusOr<PrivateKey> key = ParsePem(pem.RevealText());
  if (!key.ok()) return Annotate(key.status(), path.string());
  return key;
}

absl::Status PrivateKey::SaveNew(const std::filesystem::path& path) const {
  return WriteNewPrivateFile(path, ToPem());
}

SecretBytes PrivateKey::ToPem() const {
  const OpensslPtr<BIO> bio(BIO_new(BIO_s_secmem()));
  Check(bio != nullptr && PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0,
                                                   nullptr, nullptr) == 1,
        "a key can be written as PEM");
  char* start = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &start);
  return SecretBytes(std::vector<uint8_t>(start, start + size));
}

}  // namespace fedtune
