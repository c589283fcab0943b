// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate_request.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/no_passphrase.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/identity/alternative_names.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/subject.h"

namespace fedtune {
namespace {

absl::StatusOr<std::string> MakeRequest(EVP_PKEY* key, const EVP_MD* hash,
                                        const Identity& identity) {
  RETURN_IF_ERROR(CheckIdentity(identity));
  const OpensslPtr<X509_req_st> request(X509_REQ_new());
  Check(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
            X509_REQ_set_pubkey(request.get(), key) == 1,
        "a request takes a key");
  SetSubject(X509_REQ_get_subject_name(request.get()), identity.federation, identity.name);
  AddAlternativeNames(ToUri(identity), request.get());
  Check(X509_REQ_sign(request.get(), key, hash) > 0, "a key signs");
  return ToPem(request.get());
}

}  // namespace

absl::StatusOr<CertificateRequest> CertificateRequest::Parse(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<BIO> bio, ReadPemFrom(pem));
  OpensslPtr<X509_req_st> request(PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassphrase, nullptr));
  if (request == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("no certificate request in PEM ({})", TakeOpensslError()));
  }
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1) {
    TakeOpensslError();
    return absl::InvalidArgumentError(
        "the request is not signed by the key that it is for; it was changed on its way");
  }
  ASSIGN_OR_RETURN(AlternativeNames names, ReadAlternativeNames(request.get()));
  RETURN_IF_ERROR(CheckKeyKind(names.identity.role, key));
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
  Check(identity.role != Role::kSigner, "a signer's key is a SigningKey");
  return MakeRequest(key.get(), EVP_sha256(), identity);
}

absl::StatusOr<std::string> MakeSigningRequest(const SigningKey& key, const Identity& identity) {
  Check(identity.role == Role::kSigner, "a SigningKey is a signer's");
  const bool p256 = key.suite() == CipherSuite::kNistP256;
  return MakeRequest(key.get(), p256 ? EVP_sha256() : nullptr, identity);
}

}  // namespace fedtune
