// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/revocation_list.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <system_error>

#include "base/check.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/no_passphrase.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/x509_chain.h"

namespace fedtune {
namespace {

struct FreeList {
  void operator()(X509_CRL* list) const { X509_CRL_free(list); }
};
using ListPtr = std::unique_ptr<X509_CRL, FreeList>;

std::string Minute(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

absl::StatusOr<ListPtr> ReadList(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<BIO> bio, ReadPemFrom(pem, kLongestRevocationList));
  ListPtr list(PEM_read_bio_X509_CRL(bio.get(), nullptr, NoPassphrase, nullptr));
  if (list == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("no list of revoked certificates in PEM ({})", TakeOpensslError()));
  }
  const ListPtr second(PEM_read_bio_X509_CRL(bio.get(), nullptr, NoPassphrase, nullptr));
  const bool at_end = IsAtEndOfPem();
  TakeOpensslError();
  if (second != nullptr || !at_end) {
    return absl::InvalidArgumentError("more than one list of revoked certificates in one file");
  }
  return list;
}

absl::StatusOr<absl::Time> ReadDate(const ASN1_TIME* time) {
  if (time != nullptr && ASN1_TIME_check(time) == 1) return ToTime(time);
  TakeOpensslError();
  return absl::InvalidArgumentError("the list of revoked certificates has an impossible date");
}

absl::StatusOr<uint64_t> ReadNumber(const X509_CRL* list) {
  const OpensslPtr<ASN1_INTEGER> number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, NID_crl_number, nullptr, nullptr)));
  uint64_t value = 0;
  if (number != nullptr && ASN1_INTEGER_get_uint64(&value, number.get()) == 1) return value;
  TakeOpensslError();
  return absl::InvalidArgumentError(
      "the list of revoked certificates has no number, or a huge one");
}

// A critical one changes what the list, or an entry, means.
absl::Status CheckExtensions(const X509_CRL* list) {
  const STACK_OF(X509_EXTENSION)* const all = X509_CRL_get0_extensions(list);
  for (int i = 0; i < sk_X509_EXTENSION_num(all); ++i) {
    if (X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(all, i)) == 0) continue;
    return absl::InvalidArgumentError(
        "the list of revoked certificates is only a part of one, or has an unknown extension");
  }
  return absl::OkStatus();
}

absl::StatusOr<RevokedCertificate> ReadEntry(const X509_REVOKED* entry) {
  const STACK_OF(X509_EXTENSION)* const all = X509_REVOKED_get0_extensions(entry);
  for (int i = 0; i < sk_X509_EXTENSION_num(all); ++i) {
    if (X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(all, i)) == 0) continue;
    return absl::InvalidArgumentError("an entry of the list has an unknown extension");
  }
  ASSIGN_OR_RETURN(const absl::Time revoked_at, ReadDate(X509_REVOKED_get0_revocationDate(entry)));
  return RevokedCertificate{.serial = SerialText(X509_REVOKED_get0_serialNumber(entry)),
                            .revoked_at = revoked_at};
}

absl::StatusOr<RevocationContent> ReadContent(X509_CRL* list) {
  constexpr long kVersion2 = 1;
  if (X509_CRL_get_version(list) != kVersion2) {
    return absl::InvalidArgumentError("the list of revoked certificates is not of version 2");
  }
  RETURN_IF_ERROR(CheckExtensions(list));
  RevocationContent content;
  ASSIGN_OR_RETURN(content.number, ReadNumber(list));
  ASSIGN_OR_RETURN(content.signed_at, ReadDate(X509_CRL_get0_lastUpdate(list)));
  const STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(list);
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    ASSIGN_OR_RETURN(RevokedCertificate entry, ReadEntry(sk_X509_REVOKED_value(entries, i)));
    content.revoked.push_back(std::move(entry));
  }
  return content;
}

absl::Status CheckSignature(X509_CRL* list, std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const AuthorityCertificate authority, ParseAuthorityCertificate(authority_pem));
  ASSIGN_OR_RETURN(const std::vector<OpensslPtr<X509>> chain, ReadChain(authority_pem));
  X509* const issuer = chain.front().get();
  if (X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(issuer)) == 0 &&
      X509_CRL_verify(list, X509_get0_pubkey(issuer)) == 1) {
    return absl::OkStatus();
  }
  TakeOpensslError();
  return absl::UnauthenticatedError(fmt::format(
      "the list of revoked certificates is not signed by the authority of federation {} ({}), or "
      "was changed since; ask its custodian for it: fedtune-ca crl",
      authority.federation, authority.fingerprint.ToString()));
}

// Nothing of another size is read into memory.
absl::StatusOr<std::string> ReadListFile(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error && size > kLongestRevocationList) {
    return absl::InvalidArgumentError(fmt::format(
        "{} has {} bytes, more than a list of revoked certificates", path.string(), size));
  }
  absl::StatusOr<std::string> pem = ReadFile(path);
  if (!pem.ok()) return OfNamedFile(pem.status());
  return pem;
}

}  // namespace

absl::StatusOr<RevocationContent> ParseRevocationList(std::string_view pem) {
  ASSIGN_OR_RETURN(const ListPtr list, ReadList(pem));
  return ReadContent(list.get());
}

absl::StatusOr<RevocationFiles> ReadRevocationFiles(const std::filesystem::path& path,
                                                    const std::filesystem::path& authority) {
  RevocationFiles files;
  ASSIGN_OR_RETURN(files.list, ReadListFile(path));
  absl::StatusOr<std::string> authority_pem = ReadFile(authority);
  RETURN_IF_ERROR(OfNamedFile(authority_pem.status()));
  files.authority = *std::move(authority_pem);
  return files;
}

absl::StatusOr<RevocationList> RevocationList::Verify(std::string_view pem,
                                                      std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const ListPtr list, ReadList(pem));
  RETURN_IF_ERROR(CheckSignature(list.get(), authority_pem));
  ASSIGN_OR_RETURN(RevocationContent content, ReadContent(list.get()));
  Digest digest;
  Check(X509_CRL_digest(list.get(), EVP_sha256(), digest.bytes.data(), nullptr) == 1,
        "a list has an encoding");
  return RevocationList(std::move(content), digest);
}

absl::StatusOr<RevocationList> RevocationList::Load(const std::filesystem::path& path,
                                                    const std::filesystem::path& authority) {
  ASSIGN_OR_RETURN(const RevocationFiles files, ReadRevocationFiles(path, authority));
  absl::StatusOr<RevocationList> list = Verify(files.list, files.authority);
  if (!list.ok()) return Annotate(list.status(), path.string());
  return list;
}

RevocationList::RevocationList(RevocationContent content, const Digest& digest)
    : number_(content.number), signed_at_(content.signed_at), digest_(digest) {
  for (RevokedCertificate& entry : content.revoked) {
    revoked_.emplace(std::move(entry.serial), entry.revoked_at);
  }
}

absl::Status RevocationList::CheckFollows(const RevocationList& before) const {
  if (digest_ == before.digest_) return absl::OkStatus();
  if (number_ > before.number_) return absl::OkStatus();
  if (number_ < before.number_) {
    return absl::FailedPreconditionError(
        fmt::format("it has the number {}, and {} is in use: an older list is never taken", number_,
                    before.number_));
  }
  return absl::FailedPreconditionError(fmt::format(
      "there are two lists of the number {}: tell the custodian of the authority", number_));
}

absl::Status RevocationList::CheckNotRevoked(const Identity& identity,
                                             std::string_view serial) const {
  const auto found = revoked_.find(serial);
  if (found == revoked_.end()) return absl::OkStatus();
  return absl::UnauthenticatedError(fmt::format(
      "the certificate of {} (serial {}) was revoked on {}; who may still take part makes a new "
      "key in an empty folder (fedtune-ca request), and the custodian issues a certificate for it",
      Describe(identity), serial, Minute(found->second)));
}

std::string Describe(const RevocationList& list) {
  return fmt::format("number {} of {}, {} certificate{}", list.number(), Minute(list.signed_at()),
                     list.size(), list.size() == 1 ? "" : "s");
}

}  // namespace fedtune
