// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/types.h>

#include <memory>

struct X509_req_st;  // X509_REQ, which <openssl/types.h> leaves out.

namespace fedtune {

// Frees what OpenSSL made.
struct OpensslFree {
  void operator()(ASN1_INTEGER* integer) const;
  void operator()(BIGNUM* number) const;
  void operator()(BIO* bio) const;
  void operator()(EVP_MD_CTX* context) const;
  void operator()(EVP_PKEY* key) const;
  void operator()(X509* certificate) const;
  void operator()(X509_req_st* request) const;
  void operator()(X509_STORE* store) const;
  void operator()(X509_STORE_CTX* context) const;
};

// Owns an object of OpenSSL: no *_free is called by hand.
template <typename T>
using OpensslPtr = std::unique_ptr<T, OpensslFree>;

}  // namespace fedtune
