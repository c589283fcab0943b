// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// The public-key algorithms of a federation's rounds. HKDF-SHA256, AES-256-GCM
// and AES-256-CTR go with both.
enum class CipherSuite : uint8_t {
  kCurve25519 = 1,  // X25519 (RFC 7748) and Ed25519 (RFC 8032).
  kNistP256 = 2,    // ECDH and ECDSA on P-256, for sites that are bound to FIPS 140.
};

// Whether OpenSSL, as this machine configures it, has the suite: where only its
// FIPS provider is allowed there may be no kCurve25519. To make a key of a suite
// that is not offered ends the process.
bool IsOffered(CipherSuite suite);

}  // namespace fedtune
