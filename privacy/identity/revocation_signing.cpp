// SPDX-License-Identifier: Apache-2.0

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/check.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/pem.h"

namespace fedtune {
namespace {

struct FreeList {
  void operator()(X509_CRL* list) const { X509_CRL_free(list); }
};

OpensslPtr<ASN1_INTEGER> ToInteger(const std::string& hexadecimal) {
  BIGNUM* read = nullptr;
  const int digits = BN_hex2bn(&read, hexadecimal.c_str());
  const OpensslPtr<BIGNUM> number(read);
  Check(digits > 0 && static_cast<size_t>(digits) == hexadecimal.size(),
        "a serial number is hexadecimal");
  OpensslPtr<ASN1_INTEGER> integer(BN_to_ASN1_INTEGER(number.get(), nullptr));
  Check(integer != nullptr, "there is memory");
  return integer;
}

OpensslPtr<ASN1_TIME> ToDate(absl::Time time) {
  OpensslPtr<ASN1_TIME> date(ASN1_TIME_set(nullptr, absl::ToTimeT(time)));
  Check(date != nullptr, "a list takes dates");
  return date;
}

void AddEntry(const RevokedCertificate& revoked, X509_CRL* list) {
  X509_REVOKED* const entry = X509_REVOKED_new();
  Check(entry != nullptr &&
            X509_REVOKED_set_serialNumber(entry, ToInteger(revoked.serial).get()) == 1 &&
            X509_REVOKED_set_revocationDate(entry, ToDate(revoked.revoked_at).get()) == 1 &&
            X509_CRL_add0_revoked(list, entry) == 1,
        "a list takes an entry");
}

void AddNumber(uint64_t number, X509_CRL* list) {
  const OpensslPtr<ASN1_INTEGER> integer(ASN1_INTEGER_new());
  Check(integer != nullptr && ASN1_INTEGER_set_uint64(integer.get(), number) == 1 &&
            X509_CRL_add1_ext_i2d(list, NID_crl_number, integer.get(), 0, 0) == 1,
        "a list takes a number");
}

void AddKeyIdentifier(X509* authority, X509_CRL* list) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, authority, nullptr, nullptr, list, 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always");
  Check(extension != nullptr && X509_CRL_add_ext(list, extension, -1) == 1,
        "a list takes its authority's key identifier");
  X509_EXTENSION_free(extension);
}

}  // namespace

// RFC 5280 wants a date by which there is a newer list. There is none here: a list holds
// until something is revoked, and a date that has passed would only say that it must not.
std::string CertificateAuthority::SignRevocations(const RevocationContent& content) const {
  constexpr long kVersion2 = 1;
  const std::unique_ptr<X509_CRL, FreeList> list(X509_CRL_new());
  Check(list != nullptr && X509_CRL_set_version(list.get(), kVersion2) == 1 &&
            X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(x509_.get())) == 1 &&
            X509_CRL_set1_lastUpdate(list.get(), ToDate(content.signed_at).get()) == 1 &&
            X509_CRL_set1_nextUpdate(list.get(), ToDate(certificate_.not_after).get()) == 1,
        "a list takes an issuer and dates");
  for (const RevokedCertificate& revoked : content.revoked) AddEntry(revoked, list.get());
  AddKeyIdentifier(x509_.get(), list.get());
  AddNumber(content.number, list.get());
  Check(X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) > 0,
        "a P-256 key signs");
  return fedtune::ToPem(list.get());
}

}  // namespace fedtune
