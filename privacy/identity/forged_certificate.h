// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/identity/private_key.h"

namespace fedtune::testing {

// What a certificate that our authority would never issue, or a request that
// our programs would never make, says. For tests.
struct Forgery {
  // OpenSSL's configuration names and values, as in {"subjectAltName", "DNS:a"}.
  std::vector<std::pair<const char*, const char*>> extensions;
  absl::Time not_before;
  absl::Time not_after;
};

// The extensions of a sound client's certificate, but for the alternative names.
Forgery SoundForgery(const char* alternative_names, absl::Time now);

// A certificate in PEM for `key`, signed by `issuer_key` under the subject and
// key identifier of `issuer_pem`.
std::string ForgeCertificate(const Forgery& forgery, EVP_PKEY* key, const PrivateKey& issuer_key,
                             const std::string& issuer_pem);

// A request in PEM for `key`, signed by `signer`.
std::string ForgeRequest(const Forgery& forgery, EVP_PKEY* key, EVP_PKEY* signer);

// A key on `curve`, "P-384" as an example.
OpensslPtr<EVP_PKEY> KeyOn(const char* curve);

}  // namespace fedtune::testing
