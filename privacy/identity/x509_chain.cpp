// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/x509_chain.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/no_passphrase.h"
#include "privacy/crypto/openssl_error.h"
#include "privacy/identity/pem.h"

namespace fedtune {
namespace {

constexpr size_t kLongestChain = 8;

// The stack only points at certificates; the chain owns them.
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), FreeStack>;

bool HasDates(const X509* certificate) {
  return ASN1_TIME_check(X509_get0_notBefore(certificate)) == 1 &&
         ASN1_TIME_check(X509_get0_notAfter(certificate)) == 1;
}

ChainFault ToFault(int code, int depth) {
  switch (code) {
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return ChainFault::kAnotherAuthority;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return depth == 0 ? ChainFault::kExpired : ChainFault::kAuthorityExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return ChainFault::kNotYetValid;
    default:
      return ChainFault::kOther;
  }
}

// OpenSSL has no purpose for signing: whoever reads a signer's certificate looks
// at its uses.
int PurposeOf(ChainUse use) {
  switch (use) {
    case ChainUse::kCalling:
      return X509_PURPOSE_SSL_CLIENT;
    case ChainUse::kAnswering:
      return X509_PURPOSE_SSL_SERVER;
    case ChainUse::kSigning:
      return X509_PURPOSE_ANY;
  }
  Check(false, "a use is one of the three");
  return X509_PURPOSE_SSL_CLIENT;
}

OpensslPtr<X509_STORE> StoreOf(X509* authority) {
  OpensslPtr<X509_STORE> store(X509_STORE_new());
  Check(store != nullptr && X509_STORE_add_cert(store.get(), authority) == 1,
        "a store takes a certificate");
  return store;
}

StackPtr Intermediates(const std::vector<OpensslPtr<X509>>& chain) {
  StackPtr stack(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); ++i) {
    Check(sk_X509_push(stack.get(), chain[i].get()) > 0, "a stack takes a certificate");
  }
  return stack;
}

}  // namespace

absl::StatusOr<std::vector<OpensslPtr<X509>>> ReadChain(std::string_view pem) {
  ASSIGN_OR_RETURN(const OpensslPtr<BIO> bio, ReadPemFrom(pem));
  std::vector<OpensslPtr<X509>> chain;
  while (OpensslPtr<X509> next{PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)}) {
    if (!HasDates(next.get()))
      return absl::InvalidArgumentError("a certificate has no valid dates");
    chain.push_back(std::move(next));
    if (chain.size() > kLongestChain) {
      return absl::InvalidArgumentError(
          fmt::format("more than {} certificates in one file", kLongestChain));
    }
  }
  const bool at_end = IsAtEndOfPem();
  const std::string reason = TakeOpensslError();
  if (chain.empty() || !at_end) {
    return absl::InvalidArgumentError(fmt::format("no certificate in PEM ({})", reason));
  }
  return chain;
}

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm broken_down{};
  Check(ASN1_TIME_to_tm(time, &broken_down) == 1, "the dates of a read certificate are valid");
  return absl::FromTM(broken_down, absl::UTCTimeZone());
}

std::string SerialText(const ASN1_INTEGER* serial) {
  const OpensslPtr<BIGNUM> number(ASN1_INTEGER_to_BN(serial, nullptr));
  Check(number != nullptr, "a read certificate has a serial number");
  char* hex = BN_bn2hex(number.get());
  Check(hex != nullptr, "there is memory");
  std::string text = hex;
  OPENSSL_free(hex);
  for (char& c : text) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool IsAtEndOfPem() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

absl::Time NotBefore(const X509* certificate) { return ToTime(X509_get0_notBefore(certificate)); }

absl::Time NotAfter(const X509* certificate) { return ToTime(X509_get0_notAfter(certificate)); }

Digest Fingerprint(const X509* certificate) {
  Digest digest;
  Check(X509_digest(certificate, EVP_sha256(), digest.bytes.data(), nullptr) == 1,
        "a certificate has an encoding");
  return digest;
}

ChainVerdict VerifyChain(const std::vector<OpensslPtr<X509>>& chain, const ChainCheck& check) {
  const OpensslPtr<X509_STORE> store = StoreOf(check.authority);
  const StackPtr intermediates = Intermediates(chain);
  const OpensslPtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  Check(context != nullptr && X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(),
                                                  intermediates.get()) == 1,
        "a verification can be set up");
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(check.now));
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_purpose(parameters, PurposeOf(check.use));
  if (X509_verify_cert(context.get()) == 1) return {};
  TakeOpensslError();
  const int code = X509_STORE_CTX_get_error(context.get());
  return {.fault = ToFault(code, X509_STORE_CTX_get_error_depth(context.get())),
          .reason = X509_verify_cert_error_string(code)};
}

}  // namespace fedtune
