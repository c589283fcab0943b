// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/identity.h"
#include "privacy/identity/private_key.h"

namespace fedtune {

// What somebody asks a federation's authority for: a certificate for a key they
// hold and an identity they claim. Nothing in it is true until the custodian of
// the authority approves it. Movable, immutable.
class CertificateRequest {
 public:
  // Reads PEM and verifies proof of possession: the request is signed by the key
  // that it is for.
  //
  // INVALID_ARGUMENT: no request, another kind of key than CheckKeyKind() takes, not
  // exactly one identity, hosts (the custodian names those), or a wrong signature.
  static absl::StatusOr<CertificateRequest> Parse(std::string_view pem);

  const Identity& identity() const { return identity_; }
  const Digest& key_fingerprint() const { return key_fingerprint_; }

  // For CertificateAuthority; owned by the request.
  EVP_PKEY* public_key() const;

 private:
  CertificateRequest(OpensslPtr<X509_req_st> request, Identity identity);

  OpensslPtr<X509_req_st> request_;
  Identity identity_;
  Digest key_fingerprint_;
};

// A request in PEM: subject CN is the name, the one SAN the identity.
// INVALID_ARGUMENT: see CheckIdentity().
absl::StatusOr<std::string> MakeCertificateRequest(const PrivateKey& key, const Identity& identity);

// The same for a signer's key.
absl::StatusOr<std::string> MakeSigningRequest(const SigningKey& key, const Identity& identity);

}  // namespace fedtune
