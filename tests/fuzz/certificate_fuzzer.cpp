// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "privacy/identity/certificate.h"
#include "tests/fuzz/pem_text.h"

namespace {

// The authority of the certificates in the corpus.
constexpr char kAuthority[] = R"(-----BEGIN CERTIFICATE-----
MIIBuDCCAV2gAwIBAgIQJMmAQBCbrjoH6r6IMOZcAzAKBggqhkjOPQQDAjAsMQ4w
DAYDVQQKDAVub3J0aDEaMBgGA1UEAwwRZmVkdHVuZSBhdXRob3JpdHkwHhcNMjYx
MTI0MDAxNTAwWhcNMzYxMTIxMDAyMDAwWjAsMQ4wDAYDVQQKDAVub3J0aDEaMBgG
A1UEAwwRZmVkdHVuZSBhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATZa2dAz7T9+mA+Re2WT95GnfJAcTiKheS0Cx47g7xJObK0wi1gFdToxi/XtRY4
336wHhpLapvdY9TUuAG8ZmS1o2EwXzAaBgNVHREEEzARhg9mZWR0dW5lOi8vbm9y
dGgwEgYDVR0TAQH/BAgwBgEB/wIBADAOBgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYE
FICy0kQWrqyrO5aMcl+UT3kfLlFLMAoGCCqGSM49BAMCA0kAMEYCIQCkvMFeZ3HI
hDEi5mny7dfAlFTbi06DyTRIDUaDyH6SPAIhALrq2GdNVqgBi/bKZ62mww939oTE
4f8hUvjCrfuquPYm
-----END CERTIFICATE-----
)";

}  // namespace

// What the other end of a connection, or a file, presents.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string pem = fedtune::testing::PemText(input, "CERTIFICATE");
  const auto certificate = fedtune::ParseCertificate(pem);
  if (certificate.ok()) {
    fedtune::Check(fedtune::CheckIdentity(certificate->identity).ok(), "its identity is valid");
  }
  (void)fedtune::ParseAuthorityCertificate(pem);
  const absl::Time now = absl::FromUnixSeconds(1795479301) + absl::Hours(1);
  (void)fedtune::CheckCertificate(pem, kAuthority, fedtune::Role::kClient, now);
  return 0;
}
