// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/certificate.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/identity/alternative_names.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/public_key.h"
#include "privacy/identity/x509_chain.h"

namespace fedtune {
namespace {

constexpr std::string_view kFederationScheme = "fedtune://";

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }

std::string Minute(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

// What the extensions and the key must be in any certificate of ours.
absl::Status CheckForm(X509* certificate, bool authority) {
  const uint32_t flags = X509_get_extension_flags(certificate);
  if ((flags & EXFLAG_INVALID) != 0) {
    TakeOpensslError();
    return absl::InvalidArgumentError("the certificate's extensions are malformed");
  }
  if (((flags & EXFLAG_CA) != 0) != authority) {
    return absl::InvalidArgumentError(authority ? "it is not the certificate of an authority"
                                                : "it is an authority's certificate; a member's "
                                                  "is needed");
  }
  constexpr uint32_t kAuthorityUses = KU_KEY_CERT_SIGN | KU_CRL_SIGN;
  const uint32_t needed = authority ? KU_KEY_CERT_SIGN : KU_DIGITAL_SIGNATURE;
  const uint32_t forbidden = authority ? 0 : kAuthorityUses;
  const uint32_t uses = (flags & EXFLAG_KUSAGE) != 0 ? X509_get_key_usage(certificate) : 0;
  if ((uses & needed) == 0 || (uses & forbidden) != 0) {
    return absl::InvalidArgumentError("the certificate's key is for another use than here");
  }
  return absl::OkStatus();
}

// A signer's key is never to end in a TLS connection, nor the other way round.
// Without a list of uses a certificate would be good for all of them.
absl::Status CheckSignsOnly(X509* certificate) {
  const bool listed = (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) != 0;
  constexpr uint32_t kConnections = XKU_SSL_SERVER | XKU_SSL_CLIENT | XKU_ANYEKU;
  if (listed && (X509_get_extended_key_usage(certificate) & kConnections) == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the certificate of a signer is also good for connections, which it must not be");
}

absl::StatusOr<Certificate> ReadMember(X509* certificate) {
  RETURN_IF_ERROR(CheckForm(certificate, /*authority=*/false));
  ASSIGN_OR_RETURN(AlternativeNames names, ReadAlternativeNames(certificate));
  RETURN_IF_ERROR(CheckKeyKind(names.identity.role, X509_get0_pubkey(certificate)));
  if (names.identity.role == Role::kSigner) RETURN_IF_ERROR(CheckSignsOnly(certificate));
  if (!names.hosts.empty() && names.identity.role != Role::kCoordinator) {
    return absl::InvalidArgumentError(
        fmt::format("the certificate of {} names hosts, which only a coordinator's does",
                    Describe(names.identity)));
  }
  return Certificate{.identity = std::move(names.identity),
                     .hosts = std::move(names.hosts),
                     .not_before = NotBefore(certificate),
                     .not_after = NotAfter(certificate),
                     .serial = SerialText(X509_get0_serialNumber(certificate)),
                     .fingerprint = Fingerprint(certificate),
                     .key_fingerprint = KeyFingerprint(X509_get0_pubkey(certificate))};
}

absl::StatusOr<AuthorityCertificate> ReadAuthority(X509* certificate) {
  RETURN_IF_ERROR(CheckForm(certificate, /*authority=*/true));
  RETURN_IF_ERROR(CheckIsP256(X509_get0_pubkey(certificate)));
  ASSIGN_OR_RETURN(const std::string uri, ReadUri(certificate));
  if (!uri.starts_with(kFederationScheme)) {
    return absl::InvalidArgumentError(
        "the authority's certificate does not name its federation as fedtune://FEDERATION");
  }
  std::string federation = uri.substr(kFederationScheme.size());
  RETURN_IF_ERROR(CheckIdentityName("federation", federation));
  return AuthorityCertificate{.federation = std::move(federation),
                              .not_before = NotBefore(certificate),
                              .not_after = NotAfter(certificate),
                              .fingerprint = Fingerprint(certificate)};
}

// The one certificate of an authority's file.
absl::StatusOr<OpensslPtr<X509>> ReadAuthorityFile(std::string_view pem) {
  ASSIGN_OR_RETURN(std::vector<OpensslPtr<X509>> chain, ReadChain(pem));
  if (chain.size() != 1) {
    return absl::InvalidArgumentError(
        fmt::format("{} certificates in the authority's file; one is needed", chain.size()));
  }
  return std::move(chain.front());
}

// A client's file has its signer's request, too, and both are issued to the client.
Role ApprovedRole(const Certificate& certificate) {
  const Role role = certificate.identity.role;
  return role == Role::kSigner ? Role::kClient : role;
}

absl::Status Explain(const ChainVerdict& verdict, const Certificate& certificate,
                     const AuthorityCertificate& authority, absl::Time now) {
  const std::string who = Describe(certificate.identity);
  switch (verdict.fault) {
    case ChainFault::kNone:
      return absl::OkStatus();
    case ChainFault::kAnotherAuthority:
      return absl::UnauthenticatedError(fmt::format(
          "certificate of another authority: {} was not certified by the authority of federation "
          "{} ({}); ask its custodian for a certificate",
          who, authority.federation, authority.fingerprint.ToString()));
    case ChainFault::kExpired:
      return absl::UnauthenticatedError(fmt::format(
          "the certificate of {} expired on {}, and this machine's clock says {}; the custodian "
          "issues a new one for the same request: fedtune-ca issue --dir CA --request request.pem "
          "--role {} --name {} --out certificate.pem",
          who, Day(certificate.not_after), Minute(now), RoleName(ApprovedRole(certificate)),
          certificate.identity.name));
    case ChainFault::kNotYetValid:
      return absl::UnauthenticatedError(
          fmt::format("the certificate of {} is valid from {}, and it is {}; check this machine's "
                      "clock",
                      who, Minute(certificate.not_before), Minute(now)));
    case ChainFault::kAuthorityExpired:
      return absl::UnauthenticatedError(
          fmt::format("the certificate of the authority of federation {} expired on {}, and this "
                      "machine's clock says {}; the federation needs a new one: fedtune-ca init",
                      authority.federation, Day(authority.not_after), Minute(now)));
    case ChainFault::kOther:
      break;
  }
  return absl::UnauthenticatedError(
      fmt::format("the certificate of {} is refused: {}", who, verdict.reason));
}

ChainUse UseOf(Role role) {
  if (role == Role::kSigner) return ChainUse::kSigning;
  return role == Role::kCoordinator ? ChainUse::kAnswering : ChainUse::kCalling;
}

absl::Status CheckMember(const Certificate& certificate, const AuthorityCertificate& authority,
                         Role expected) {
  if (certificate.identity.federation != authority.federation) {
    return absl::UnauthenticatedError(
        fmt::format("the certificate is of {}, but the authority is that of federation {}",
                    Describe(certificate.identity), authority.federation));
  }
  if (certificate.identity.role != expected) {
    return absl::PermissionDeniedError(
        fmt::format("the certificate is for {}; {} {}'s is needed", Describe(certificate.identity),
                    expected == Role::kAdministrator ? "an" : "a", RoleName(expected)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Certificate> ParseCertificate(std::string_view pem) {
  ASSIGN_OR_RETURN(const std::vector<OpensslPtr<X509>> chain, ReadChain(pem));
  return ReadMember(chain.front().get());
}

absl::StatusOr<std::string> FindCertificate(std::string_view pem, Role role) {
  for (const std::string_view block : SplitPem(pem)) {
    ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(block));
    if (certificate.identity.role == role) return std::string(block);
  }
  return absl::NotFoundError(fmt::format("there is no certificate of a {}", RoleName(role)));
}

absl::StatusOr<AuthorityCertificate> ParseAuthorityCertificate(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<X509> certificate, ReadAuthorityFile(pem));
  return ReadAuthority(certificate.get());
}

absl::StatusOr<Certificate> CheckCertificate(std::string_view pem, std::string_view authority_pem,
                                             Role expected, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<OpensslPtr<X509>> chain, ReadChain(pem));
  ASSIGN_OR_RETURN(Certificate certificate, ReadMember(chain.front().get()));
  ASSIGN_OR_RETURN(const OpensslPtr<X509> issuer, ReadAuthorityFile(authority_pem));
  ASSIGN_OR_RETURN(const AuthorityCertificate authority, ReadAuthority(issuer.get()));
  const ChainVerdict verdict = VerifyChain(
      chain, {.authority = issuer.get(), .use = UseOf(certificate.identity.role), .now = now});
  RETURN_IF_ERROR(Explain(verdict, certificate, authority, now));
  RETURN_IF_ERROR(CheckMember(certificate, authority, expected));
  return certificate;
}

}  // namespace fedtune
