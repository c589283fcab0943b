// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/signing_key.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <climits>

#include "base/check.h"
#include "base/status_macros.h"
#include "privacy/crypto/ecdsa_encoding.h"
#include "privacy/crypto/ed25519_size.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/p256.h"
#include "privacy/crypto/private_key_pem.h"

namespace fedtune {
namespace {

constexpr size_t kSignatureBytes = 64;  // In both suites.
constexpr size_t kLongestDer = 80;

absl::Status NotSigned() {
  TakeOpensslError();
  return absl::UnauthenticatedError("the signature is not of this key and message");
}

const EVP_MD* DigestOf(CipherSuite suite) {
  return suite == CipherSuite::kNistP256 ? EVP_sha256() : nullptr;
}

std::vector<uint8_t> PublicBytes(CipherSuite suite, const EVP_PKEY* key) {
  if (suite == CipherSuite::kNistP256) return P256Point(key);
  std::vector<uint8_t> bytes(kEd25519Size);
  size_t size = bytes.size();
  Check(EVP_PKEY_get_raw_public_key(key, bytes.data(), &size) == 1 && size == bytes.size(),
        "an Ed25519 public key has 32 bytes");
  return bytes;
}

absl::StatusOr<OpensslPtr<EVP_PKEY>> PublicKey(CipherSuite suite, std::span<const uint8_t> bytes) {
  if (suite == CipherSuite::kNistP256) return P256PublicKey(bytes);
  OpensslPtr<EVP_PKEY> key;
  if (bytes.size() == kEd25519Size) {
    key.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  }
  if (key == nullptr) return NotSigned();
  return key;
}

}  // namespace

SigningKey::SigningKey(CipherSuite suite, OpensslPtr<EVP_PKEY> key)
    : suite_(suite), key_(std::move(key)), public_key_(PublicBytes(suite, key_.get())) {}

SigningKey SigningKey::Generate(CipherSuite suite) {
  OpensslPtr<EVP_PKEY> key(suite == CipherSuite::kNistP256
                               ? EVP_EC_gen("P-256")
                               : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  Check(key != nullptr, "OpenSSL makes signing keys");
  return {suite, std::move(key)};
}

absl::StatusOr<SigningKey> SigningKey::ParsePem(std::string_view pem) {
  ASSIGN_OR_RETURN(OpensslPtr<EVP_PKEY> key, ReadPrivateKeyPem(pem));
  if (EVP_PKEY_is_a(key.get(), "ED25519") == 1) {
    return SigningKey(CipherSuite::kCurve25519, std::move(key));
  }
  char group[32] = {};
  if (EVP_PKEY_is_a(key.get(), "EC") == 1 &&
      EVP_PKEY_get_group_name(key.get(), group, sizeof(group), nullptr) == 1 &&
      std::string_view(group) == "prime256v1") {
    RETURN_IF_ERROR(CheckP256Pair(key.get()));
    return SigningKey(CipherSuite::kNistP256, std::move(key));
  }
  TakeOpensslError();
  return absl::InvalidArgumentError(
      "a signing key is an Ed25519 or a P-256 key, and this is another kind");
}

SecretBytes SigningKey::ToPem() const {
  const OpensslPtr<BIO> text(BIO_new(BIO_s_secmem()));
  Check(text != nullptr && PEM_write_bio_PKCS8PrivateKey(text.get(), key_.get(), nullptr, nullptr,
                                                         0, nullptr, nullptr) == 1,
        "OpenSSL writes PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return SecretBytes(std::vector<uint8_t>(data, data + size));
}

std::vector<uint8_t> SigningKey::Sign(std::span<const uint8_t> message) const {
  const OpensslPtr<EVP_MD_CTX> context(EVP_MD_CTX_new());
  std::vector<uint8_t> signature(kLongestDer);
  size_t size = signature.size();
  Check(
      context != nullptr &&
          EVP_DigestSignInit(context.get(), nullptr, DigestOf(suite_), nullptr, key_.get()) == 1 &&
          EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) ==
              1,
      "OpenSSL signs");
  signature.resize(size);
  if (suite_ != CipherSuite::kNistP256) return signature;
  absl::StatusOr<std::vector<uint8_t>> numbers = EcdsaFromDer(signature);
  Check(numbers.ok(), "OpenSSL writes signatures in DER");
  return *std::move(numbers);
}

absl::Status VerifySignature(CipherSuite suite, std::span<const uint8_t> public_key,
                             std::span<const uint8_t> message, std::span<const uint8_t> signature) {
  const absl::StatusOr<OpensslPtr<EVP_PKEY>> key = PublicKey(suite, public_key);
  if (!key.ok() || signature.size() != kSignatureBytes) return NotSigned();
  const std::vector<uint8_t> encoded =
      suite == CipherSuite::kNistP256 ? EcdsaToDer(signature)
                                      : std::vector<uint8_t>(signature.begin(), signature.end());
  const OpensslPtr<EVP_MD_CTX> context(EVP_MD_CTX_new());
  Check(context != nullptr &&
            EVP_DigestVerifyInit(context.get(), nullptr, DigestOf(suite), nullptr, key->get()) == 1,
        "OpenSSL verifies signatures");
  if (EVP_DigestVerify(context.get(), encoded.data(), encoded.size(), message.data(),
                       message.size()) != 1) {
    return NotSigned();
  }
  return absl::OkStatus();
}

}  // namespace fedtune
