// SPDX-License-Identifier: Apache-2.0

// Files of signing keys; and public keys and signatures as others send them,
// after a byte that chooses the suite.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/signing_key.h"
#include "tests/fuzz/pem_text.h"

using fedtune::Check;
using fedtune::CipherSuite;
using fedtune::SigningKey;
using fedtune::VerifySignature;

namespace {

constexpr size_t kSignatureSize = 64;

void TakePublic(CipherSuite suite, std::span<const uint8_t> input) {
  const std::vector<uint8_t> message = {1, 2, 3};
  static const SigningKey kKeys[] = {SigningKey::Generate(CipherSuite::kCurve25519),
                                     SigningKey::Generate(CipherSuite::kNistP256)};
  const SigningKey& ours = kKeys[suite == CipherSuite::kNistP256 ? 1 : 0];
  Check(!VerifySignature(suite, ours.public_key(), message, input).ok(), "nobody signs for us");
  if (input.size() < kSignatureSize) return;
  // A key that others chose may verify what it did not sign; it must not end us.
  (void)VerifySignature(suite, input.subspan(kSignatureSize), message, input.first(kSignatureSize))
      .ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto key = SigningKey::ParsePem(fedtune::testing::PemText(input, "PRIVATE KEY"));
  if (key.ok()) {
    const auto again = SigningKey::ParsePem(key->ToPem().RevealText());
    Check(again.ok() && again->public_key() == key->public_key(), "a key is read back");
  }
  if (size == 0) return 0;
  TakePublic(data[0] % 2 == 0 ? CipherSuite::kCurve25519 : CipherSuite::kNistP256,
             {data + 1, size - 1});
  return 0;
}
