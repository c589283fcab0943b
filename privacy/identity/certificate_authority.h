// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/private_key.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {

// What the custodian of the authority decides, whatever a request says.
struct Approval {
  Identity identity;
  std::vector<std::string> hosts;  // Only for a coordinator, besides kCoordinatorHost.
  absl::Duration valid_for;
};

// A federation's authority: a self-signed certificate that may issue members'
// certificates, may revoke them, and nothing else. Movable; issuing is safe from several threads.
class CertificateAuthority {
 public:
  // Makes a new authority with a new key.
  // INVALID_ARGUMENT: `federation` is no name; `valid_for` is under a day.
  static absl::StatusOr<CertificateAuthority> Create(std::string_view federation,
                                                     absl::Duration valid_for, absl::Time now);

  // Takes up an authority that was stored.
  // INVALID_ARGUMENT: no authority's certificate, or that of another key.
  static absl::StatusOr<CertificateAuthority> Restore(PrivateKey key, std::string_view pem);

  // A certificate in PEM for the request's key and the approved identity: CA:false,
  // signatures only, for calling or, for a coordinator, for answering or, for a
  // signer, for documents and never for TLS, with a random serial of 128 bits.
  //
  // INVALID_ARGUMENT: the approval is of another federation, names a wrong host
  // or hosts for another role, or a time that is under a minute or longer than
  // the authority lives.
  // PERMISSION_DENIED: the request claims another identity than was approved.
  absl::StatusOr<std::string> Issue(const CertificateRequest& request, const Approval& approval,
                                    absl::Time now) const;

  // The list of these certificates in PEM, as RevocationList::Verify() takes it: the
  // serials are hexadecimal. Whoever calls it gives each list a higher number.
  std::string SignRevocations(const RevocationContent& content) const;

  std::string ToPem() const;
  const PrivateKey& key() const { return key_; }
  const AuthorityCertificate& certificate() const { return certificate_; }

 private:
  CertificateAuthority(PrivateKey key, OpensslPtr<X509> x509, AuthorityCertificate certificate);
  absl::Status CheckApproval(const CertificateRequest& request, const Approval& approval,
                             absl::Time now) const;

  PrivateKey key_;
  OpensslPtr<X509> x509_;
  AuthorityCertificate certificate_;
};

}  // namespace fedtune
