// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/public_key.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>

#include "base/check.h"
#include "base/status_macros.h"
#include "privacy/crypto/ed25519_size.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/p256.h"
#include "privacy/identity/x509_chain.h"

namespace fedtune {
namespace {

bool IsEd25519(const EVP_PKEY* key) { return key != nullptr && EVP_PKEY_is_a(key, "ED25519") == 1; }

}  // namespace

absl::Status CheckIsP256(const EVP_PKEY* key) {
  std::array<char, 32> group{};
  const bool named = key != nullptr && EVP_PKEY_is_a(key, "EC") == 1 &&
                     EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1;
  if (named && std::string_view(group.data()) == "prime256v1") return absl::OkStatus();
  TakeOpensslError();
  return absl::InvalidArgumentError(
      "the key is not a P-256 key (prime256v1), the kind in use here");
}

absl::Status CheckKeyKind(Role role, const EVP_PKEY* key) {
  if (role != Role::kSigner) return CheckIsP256(key);
  if (IsEd25519(key) || CheckIsP256(key).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError("a signing key is an Ed25519 or a P-256 key");
}

Digest KeyFingerprint(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  Check(size > 0, "a public key has an encoding");
  const Digest digest = Sha256Of(std::string_view(reinterpret_cast<char*>(der), size));
  OPENSSL_free(der);
  return digest;
}

Digest KeyFingerprint(const VerifyingKey& key) {
  if (key.suite == CipherSuite::kNistP256) {
    const absl::StatusOr<OpensslPtr<EVP_PKEY>> point = P256PublicKey(key.bytes);
    Check(point.ok(), "the point of a good key is on its curve");
    return KeyFingerprint(point->get());
  }
  const OpensslPtr<EVP_PKEY> made(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), key.bytes.size()));
  Check(made != nullptr, "an Ed25519 public key has 32 bytes");
  return KeyFingerprint(made.get());
}

absl::StatusOr<VerifyingKey> ReadVerifyingKey(std::string_view pem) {
  ASSIGN_OR_RETURN(const std::vector<OpensslPtr<X509>> chain, ReadChain(pem));
  const EVP_PKEY* key = X509_get0_pubkey(chain.front().get());
  RETURN_IF_ERROR(CheckKeyKind(Role::kSigner, key));
  if (!IsEd25519(key)) return VerifyingKey{CipherSuite::kNistP256, P256Point(key)};
  VerifyingKey read{CipherSuite::kCurve25519, std::vector<uint8_t>(kEd25519Size)};
  size_t size = read.bytes.size();
  Check(EVP_PKEY_get_raw_public_key(key, read.bytes.data(), &size) == 1 && size == kEd25519Size,
        "an Ed25519 public key has 32 bytes");
  return read;
}

}  // namespace fedtune
