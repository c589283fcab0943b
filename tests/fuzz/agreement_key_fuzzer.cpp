// SPDX-License-Identifier: Apache-2.0

// Public keys as another party sends them, after a byte that chooses the suite.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/agreement_key.h"

using fedtune::AgreementKey;
using fedtune::Check;
using fedtune::CipherSuite;
using fedtune::SecretBytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const CipherSuite suite = data[0] % 2 == 0 ? CipherSuite::kCurve25519 : CipherSuite::kNistP256;
  const AgreementKey key = AgreementKey::FromSeed(suite, SecretBytes(std::vector<uint8_t>(32, 1)));
  const std::span peer(data + 1, size - 1);
  const auto agreed = key.Agree(peer);
  if (!agreed.ok()) return 0;
  Check(peer.size() == key.public_key().size(), "a public key has one size");
  Check(agreed->size() == 32, "32 bytes are agreed on");
  if (suite == CipherSuite::kCurve25519) {
    Check(!(*agreed == SecretBytes(std::vector<uint8_t>(32))), "zeros are refused");
  }
  Check(*agreed == *key.Agree(peer), "agreement is the same again");
  return 0;
}
