// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate_request.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/identity/alternative_names.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/subject.h"

namespace fedtune {

absl::StatusOr<CertificateRequest> CertificateRequest::Parse(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<BIO> bio, ReadPemFrom(pem));
  OpensslPtr<X509_req_st> request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (request == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("no certificate request in PEM ({})", TakeOpensslError()));
  }
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  RETURN_IF_ERROR(CheckIsP256(key));
  if (X509_REQ_verify(request.get(), key) != 1) {
    TakeOpensslError();
    return absl::InvalidArgumentError(
        "the request is not signed by the key that it is for; it was changed on its way");
  }
  ASSIGN_OR_RETURN(AlternativeNames names, ReadAlternativeNames(request.get()));
  if (!names.hosts.empty()) {
    return absl::InvalidArgumentError(
        "the request names hosts; who issues the certificate does that");
  }
  return CertificateRequest(std::move(request), std::move(names.identity));
}

CertificateRequest::CertificateRequest(OpensslPtr<X509_req_st> request, Identity identity)
    : request_(std::move(request)),
      identity_(std::move(identity)),
      key_fingerprint_(KeyFingerprint(public_key())) {}

EVP_PKEY* CertificateRequest::public_key() const { return X509_REQ_get0_pubkey(request_.get()); }

absl::StatusOr<std::string> MakeCertificateRequest(const PrivateKey& key,
                                                   const Identity& identity) {
  RETURN_IF_ERROR(CheckIdentity(identity));
  const OpensslPtr<X509_req_st> request(X509_REQ_new());
  Check(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
            X509_REQ_set_pubkey(request.get(), key.get()) == 1,
        "a request takes a P-256 key");
  SetSubject(X509_REQ_get_subject_name(request.get()), identity.federation, identity.name);
  AddAlternativeNames(ToUri(identity), request.get());
  Check(X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0, "a P-256 key signs");
  return ToPem(request.get());
}

}  // namespace fedtune
