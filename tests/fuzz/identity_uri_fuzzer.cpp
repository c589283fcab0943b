// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/identity.h"

// Identities and digests as text: what is accepted is written back as it came.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto identity = fedtune::ParseIdentityUri(text);
  if (identity.ok()) fedtune::Check(fedtune::ToUri(*identity) == text, "the identity is the URI");
  const auto digest = fedtune::Digest::Parse(text);
  if (digest.ok()) {
    fedtune::Check(fedtune::Digest::Parse(digest->ToString()).value() == *digest,
                   "a digest is read back");
  }
  return 0;
}
