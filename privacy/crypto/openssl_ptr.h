// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/types.h>

#include <memory>

// Those that <openssl/types.h> leaves out.
struct X509_req_st;  // X509_REQ
struct ECDSA_SIG_st;

namespace fedtune {

// Frees what OpenSSL made.
struct OpensslFree {
  void operator()(ASN1_INTEGER* integer) const;
  void operator()(BIGNUM* number) const;
  void operator()(BIO* bio) const;
  void operator()(BN_CTX* context) const;
  void operator()(ECDSA_SIG_st* signature) const;
  void operator()(EVP_CIPHER_CTX* context) const;
  void operator()(EVP_KDF* kdf) const;
  void operator()(EVP_KDF_CTX* context) const;
  void operator()(EVP_MD_CTX* context) const;
  void operator()(EVP_PKEY* key) const;
  void operator()(EVP_PKEY_CTX* context) const;
  void operator()(OSSL_PARAM* parameters) const;
  void operator()(OSSL_PARAM_BLD* builder) const;
  void operator()(X509* certificate) const;
  void operator()(X509_req_st* request) const;
  void operator()(X509_STORE* store) const;
  void operator()(X509_STORE_CTX* context) const;
};

// Owns an object of OpenSSL: no *_free is called by hand.
template <typename T>
using OpensslPtr = std::unique_ptr<T, OpensslFree>;

}  // namespace fedtune
