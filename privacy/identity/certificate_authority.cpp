// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate_authority.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/random_bytes.h"
#include "privacy/identity/alternative_names.h"
#include "privacy/identity/clock_tolerance.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/subject.h"
#include "privacy/identity/x509_chain.h"

namespace fedtune {
namespace {

constexpr size_t kSerialBytes = 16;

constexpr absl::Duration kShortestAuthority = absl::Hours(24);
constexpr absl::Duration kShortestCertificate = absl::Minutes(1);

struct ExtensionText {
  int kind;
  const char* value;
};

// `issuer` and `certificate` are what key identifiers are taken from.
void AddExtension(const ExtensionText& text, X509* issuer, X509* certificate) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, text.kind, text.value);
  Check(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1,
        "OpenSSL knows the extensions in use");
  X509_EXTENSION_free(extension);
}

void SetSerial(X509* certificate) {
  const std::vector<uint8_t> bytes = RandomBytes(kSerialBytes);
  const OpensslPtr<BIGNUM> number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  Check(number != nullptr &&
            BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
        "a certificate takes a serial number");
}

void SetDates(absl::Time not_before, absl::Time not_after, X509* certificate) {
  Check(ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(not_before)) != nullptr &&
            ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(not_after)) != nullptr,
        "a certificate takes dates");
}

OpensslPtr<X509> NewCertificate(EVP_PKEY* key) {
  OpensslPtr<X509> certificate(X509_new());
  Check(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
            X509_set_pubkey(certificate.get(), key) == 1,
        "a certificate takes a key");
  SetSerial(certificate.get());
  return certificate;
}

void Sign(EVP_PKEY* key, X509* certificate) {
  Check(X509_sign(certificate, key, EVP_sha256()) > 0, "a P-256 key signs");
}

OpensslPtr<X509> MakeAuthority(std::string_view federation, EVP_PKEY* key) {
  OpensslPtr<X509> authority = NewCertificate(key);
  X509* const x509 = authority.get();
  SetSubject(X509_get_subject_name(x509), federation, "fedtune authority");
  X509_set_issuer_name(x509, X509_get_subject_name(x509));
  AddAlternativeNames(fmt::format("fedtune://{}", federation), {}, x509);
  AddExtension({NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, x509, x509);
  AddExtension({NID_key_usage, "critical,keyCertSign,cRLSign"}, x509, x509);
  AddExtension({NID_subject_key_identifier, "hash"}, x509, x509);
  return authority;
}

// A signer's is none that TLS accepts: document signing, RFC 9336.
const char* ExtendedUseOf(Role role) {
  if (role == Role::kSigner) return "critical,1.3.6.1.5.5.7.3.36";
  return role == Role::kCoordinator ? "serverAuth" : "clientAuth";
}

OpensslPtr<X509> MakeMember(const Approval& approval, EVP_PKEY* key, X509* authority) {
  OpensslPtr<X509> member = NewCertificate(key);
  X509* const x509 = member.get();
  const bool answers = approval.identity.role == Role::kCoordinator;
  std::vector<std::string> hosts = approval.hosts;
  if (answers && std::ranges::find(hosts, kCoordinatorHost) == hosts.end()) {
    hosts.push_back(kCoordinatorHost);
  }
  SetSubject(X509_get_subject_name(x509), approval.identity.federation, approval.identity.name);
  X509_set_issuer_name(x509, X509_get_subject_name(authority));
  AddAlternativeNames(ToUri(approval.identity), hosts, x509);
  AddExtension({NID_basic_constraints, "critical,CA:FALSE"}, authority, x509);
  AddExtension({NID_key_usage, "critical,digitalSignature"}, authority, x509);
  AddExtension({NID_ext_key_usage, ExtendedUseOf(approval.identity.role)}, authority, x509);
  AddExtension({NID_subject_key_identifier, "hash"}, authority, x509);
  AddExtension({NID_authority_key_identifier, "keyid:always"}, authority, x509);
  return member;
}

absl::Status CheckHosts(const Approval& approval) {
  if (!approval.hosts.empty() && approval.identity.role != Role::kCoordinator) {
    return absl::InvalidArgumentError(fmt::format(
        "hosts are for a coordinator's certificate; {} needs none", Describe(approval.identity)));
  }
  for (const std::string& host : approval.hosts) RETURN_IF_ERROR(CheckHost(host));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CertificateAuthority> CertificateAuthority::Create(std::string_view federation,
                                                                  absl::Duration valid_for,
                                                                  absl::Time now) {
  RETURN_IF_ERROR(CheckIdentityName("federation", federation));
  if (valid_for < kShortestAuthority) {
    return absl::InvalidArgumentError("an authority has to be valid for a day or longer");
  }
  PrivateKey key = PrivateKey::Generate();
  const OpensslPtr<X509> x509 = MakeAuthority(federation, key.get());
  SetDates(now - kClockTolerance, now + valid_for, x509.get());
  Sign(key.get(), x509.get());
  // Read back, so that a new authority is what a stored one will be.
  return Restore(std::move(key), fedtune::ToPem(x509.get()));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Restore(PrivateKey key,
                                                                   std::string_view pem) {
  ASSIGN_OR_RETURN(AuthorityCertificate certificate, ParseAuthorityCertificate(pem));
  ASSIGN_OR_RETURN(std::vector<OpensslPtr<X509>> chain, ReadChain(pem));
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    TakeOpensslError();
    return absl::InvalidArgumentError("the authority's certificate is for another key");
  }
  return CertificateAuthority(std::move(key), std::move(chain.front()), std::move(certificate));
}

CertificateAuthority::CertificateAuthority(PrivateKey key, OpensslPtr<X509> x509,
                                           AuthorityCertificate certificate)
    : key_(std::move(key)), x509_(std::move(x509)), certificate_(std::move(certificate)) {}

absl::Status CertificateAuthority::CheckApproval(const CertificateRequest& request,
                                                 const Approval& approval, absl::Time now) const {
  RETURN_IF_ERROR(CheckIdentity(approval.identity));
  RETURN_IF_ERROR(CheckHosts(approval));
  if (approval.identity.federation != certificate_.federation) {
    return absl::InvalidArgumentError(fmt::format("this is the authority of federation {}, not {}",
                                                  certificate_.federation,
                                                  approval.identity.federation));
  }
  if (request.identity() != approval.identity) {
    return absl::PermissionDeniedError(
        fmt::format("the request is of {}, but {} was approved; ask for the right request, or "
                    "approve what it says",
                    Describe(request.identity()), Describe(approval.identity)));
  }
  if (approval.valid_for < kShortestCertificate ||
      now + approval.valid_for > certificate_.not_after) {
    return absl::InvalidArgumentError(fmt::format(
        "a certificate cannot end on {}: it has to end after today and before its authority, which "
        "ends on {}",
        absl::FormatTime("%Y-%m-%d", now + approval.valid_for, absl::UTCTimeZone()),
        absl::FormatTime("%Y-%m-%d", certificate_.not_after, absl::UTCTimeZone())));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CertificateAuthority::Issue(const CertificateRequest& request,
                                                        const Approval& approval,
                                                        absl::Time now) const {
  RETURN_IF_ERROR(CheckApproval(request, approval, now));
  const OpensslPtr<X509> x509 = MakeMember(approval, request.public_key(), x509_.get());
  SetDates(now - kClockTolerance, now + approval.valid_for, x509.get());
  Sign(key_.get(), x509.get());
  return fedtune::ToPem(x509.get());
}

std::string CertificateAuthority::ToPem() const { return fedtune::ToPem(x509_.get()); }

}  // namespace fedtune
