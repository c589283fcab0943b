// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "privacy/identity/certificate_request.h"
#include "tests/fuzz/pem_text.h"

// What a custodian gets by mail.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto request =
      fedtune::CertificateRequest::Parse(fedtune::testing::PemText(input, "CERTIFICATE REQUEST"));
  if (request.ok()) {
    fedtune::Check(fedtune::CheckIdentity(request->identity()).ok(), "its identity is valid");
  }
  return 0;
}
