// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "privacy/identity/revocation_list.h"
#include "tests/fuzz/pem_text.h"

namespace {

// The authority of the lists in the corpus.
constexpr char kAuthority[] = R"(-----BEGIN CERTIFICATE-----
MIIBuTCCAV6gAwIBAgIRAJVyxr9TROp9Q2oSQmaACiowCgYIKoZIzj0EAwIwLDEO
MAwGA1UECgwFbm9ydGgxGjAYBgNVBAMMEWZlZHR1bmUgYXV0aG9yaXR5MB4XDTI2
MTEyODE2MzkwOVoXDTM2MTEyNTE2NDQwOVowLDEOMAwGA1UECgwFbm9ydGgxGjAY
BgNVBAMMEWZlZHR1bmUgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEw/buQvSdYgbqUBS7Q1QGiUNvnzf/ePzhXSupK8aqNY9/PYjeQdTeDoyNOibO
uOel+9DouZrd1/DAdN40ezPtg6NhMF8wGgYDVR0RBBMwEYYPZmVkdHVuZTovL25v
cnRoMBIGA1UdEwEB/wQIMAYBAf8CAQAwDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQW
BBT7EvlTM1N1Vq1J8Wum16jlprYg1DAKBggqhkjOPQQDAgNJADBGAiEAofZf+UAZ
pRV02FwlZTYxH0BJC85q41mcXbJbEMOj9vQCIQDDYqjL+5sty0EeBsY0Yf5zN+b4
CY6LZszqvDsjK2QDeg==
-----END CERTIFICATE-----
)";

}  // namespace

// A list as the custodian sends it, or somebody else.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string pem = fedtune::testing::PemText(input, "X509 CRL");
  const auto content = fedtune::ParseRevocationList(pem);
  const auto list = fedtune::RevocationList::Verify(pem, kAuthority);
  if (!list.ok()) return 0;
  fedtune::Check(content.ok() && content->number == list->number(), "both read the same list");
  const fedtune::Identity ada{.federation = "north", .role = fedtune::Role::kClient, .name = "ada"};
  for (const fedtune::RevokedCertificate& one : content->revoked) {
    fedtune::Check(!list->CheckNotRevoked(ada, one.serial).ok(), "whoever is on it is refused");
  }
  return 0;
}
