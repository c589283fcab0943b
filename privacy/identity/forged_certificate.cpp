// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/forged_certificate.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/subject.h"
#include "privacy/identity/x509_chain.h"

namespace fedtune::testing {
namespace {

X509_EXTENSION* MakeExtension(const char* name, const char* value, X509V3_CTX* context) {
  X509_EXTENSION* extension = X509V3_EXT_conf(nullptr, context, name, value);
  Check(extension != nullptr, "OpenSSL knows the extension of a forgery");
  return extension;
}

}  // namespace

Forgery SoundForgery(const char* alternative_names, absl::Time now) {
  return {.extensions = {{"basicConstraints", "critical,CA:FALSE"},
                         {"keyUsage", "critical,digitalSignature"},
                         {"extendedKeyUsage", "clientAuth"},
                         {"subjectKeyIdentifier", "hash"},
                         {"authorityKeyIdentifier", "keyid:always"},
                         {"subjectAltName", alternative_names}},
          .not_before = now - absl::Hours(1),
          .not_after = now + absl::Hours(1)};
}

std::string ForgeCertificate(const Forgery& forgery, EVP_PKEY* key, const PrivateKey& issuer_key,
                             const std::string& issuer_pem) {
  const auto chain = *ReadChain(issuer_pem);
  X509* const issuer = chain.front().get();
  const OpensslPtr<X509> x509(X509_new());
  X509_set_version(x509.get(), X509_VERSION_3);
  X509_set_pubkey(x509.get(), key);
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 7);
  ASN1_TIME_set(X509_getm_notBefore(x509.get()), absl::ToTimeT(forgery.not_before));
  ASN1_TIME_set(X509_getm_notAfter(x509.get()), absl::ToTimeT(forgery.not_after));
  SetSubject(X509_get_subject_name(x509.get()), "north", "forged");
  X509_set_issuer_name(x509.get(), X509_get_subject_name(issuer));
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509.get(), nullptr, nullptr, 0);
  for (const auto& [name, value] : forgery.extensions) {
    X509_EXTENSION* extension = MakeExtension(name, value, &context);
    X509_add_ext(x509.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  Check(X509_sign(x509.get(), issuer_key.get(), EVP_sha256()) > 0, "a forgery is signed");
  return ToPem(x509.get());
}

std::string ForgeRequest(const Forgery& forgery, EVP_PKEY* key, EVP_PKEY* signer) {
  const OpensslPtr<X509_req_st> request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key);
  SetSubject(X509_REQ_get_subject_name(request.get()), "north", "forged");
  X509V3_CTX context;
  X509V3_set_ctx(&context, nullptr, nullptr, request.get(), nullptr, 0);
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  for (const auto& [name, value] : forgery.extensions) {
    sk_X509_EXTENSION_push(extensions, MakeExtension(name, value, &context));
  }
  if (!forgery.extensions.empty()) X509_REQ_add_extensions(request.get(), extensions);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  Check(X509_REQ_sign(request.get(), signer, EVP_sha256()) > 0, "a forgery is signed");
  return ToPem(request.get());
}

OpensslPtr<EVP_PKEY> KeyOn(const char* curve) {
  OpensslPtr<EVP_PKEY> key(EVP_EC_gen(curve));
  Check(key != nullptr, "OpenSSL knows the curve");
  return key;
}

}  // namespace fedtune::testing
