// SPDX-License-Identifier: Apache-2.0

// A key file: made by us, but any file may lie there.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "privacy/identity/private_key.h"
#include "tests/fuzz/pem_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto key = fedtune::PrivateKey::ParsePem(fedtune::testing::PemText(input, "PRIVATE KEY"));
  if (!key.ok()) return 0;
  const fedtune::SecretBytes pem = key->ToPem();
  const std::string text(reinterpret_cast<const char*>(pem.Reveal().data()), pem.size());
  fedtune::Check(fedtune::PrivateKey::ParsePem(text).ok(), "a key is read back");
  return 0;
}
