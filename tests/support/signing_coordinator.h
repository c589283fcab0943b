// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/check.h"
#include "base/status.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/private_key.h"

namespace fedtune::testing {

// A coordinator that signs checkpoints of its log, for tests; or another member that tries to.
class SigningCoordinator {
 public:
  // Certified for 30 days from `issued` on.
  SigningCoordinator(const CertificateAuthority& authority, absl::Time issued,
                     Role role = Role::kCoordinator) {
    const Identity identity = {
        .federation = authority.certificate().federation, .role = role, .name = "hub"};
    const auto request = CertificateRequest::Parse(RequestFor(identity));
    const auto certificate = authority.Issue(
        *request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24 * 30)}, issued);
    Check(certificate.ok(), Message(certificate.status()));
    certificate_pem_ = *certificate;
  }

  SignedCheckpoint Sign(const LogCheckpoint& checkpoint) const {
    return {SignCheckpoint(checkpoint, key_), certificate_pem_};
  }

  const SigningKey& key() const { return key_; }
  const std::string& certificate_pem() const { return certificate_pem_; }

 private:
  std::string RequestFor(const Identity& identity) const {
    if (identity.role == Role::kSigner) return *MakeSigningRequest(key_, identity);
    const SecretBytes pem = key_.ToPem();
    const auto bytes = pem.Reveal();
    const auto key =
        PrivateKey::ParsePem({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return *MakeCertificateRequest(*key, identity);
  }

  SigningKey key_ = SigningKey::Generate(CipherSuite::kNistP256);
  std::string certificate_pem_;
};

}  // namespace fedtune::testing
