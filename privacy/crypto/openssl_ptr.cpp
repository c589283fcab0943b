// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/openssl_ptr.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/x509.h>

namespace fedtune {

void OpensslFree::operator()(ASN1_INTEGER* integer) const { ASN1_INTEGER_free(integer); }
void OpensslFree::operator()(BIGNUM* number) const { BN_clear_free(number); }
void OpensslFree::operator()(BIO* bio) const { BIO_free_all(bio); }
void OpensslFree::operator()(BN_CTX* context) const { BN_CTX_free(context); }
void OpensslFree::operator()(ECDSA_SIG_st* signature) const { ECDSA_SIG_free(signature); }
void OpensslFree::operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
void OpensslFree::operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
void OpensslFree::operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
void OpensslFree::operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
void OpensslFree::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
void OpensslFree::operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
void OpensslFree::operator()(OSSL_PARAM* parameters) const { OSSL_PARAM_free(parameters); }
void OpensslFree::operator()(OSSL_PARAM_BLD* builder) const { OSSL_PARAM_BLD_free(builder); }
void OpensslFree::operator()(X509* certificate) const { X509_free(certificate); }
void OpensslFree::operator()(X509_req_st* request) const { X509_REQ_free(request); }
void OpensslFree::operator()(X509_STORE* store) const { X509_STORE_free(store); }
void OpensslFree::operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }

}  // namespace fedtune
