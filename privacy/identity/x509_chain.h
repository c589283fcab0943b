// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// All certificates in `pem`, at least one and at most eight.
// INVALID_ARGUMENT: none, more, or one that cannot be read.
absl::StatusOr<std::vector<OpensslPtr<X509>>> ReadChain(std::string_view pem);

// Requires: ASN1_TIME_check() has found it good.
absl::Time ToTime(const ASN1_TIME* time);

// Hexadecimal, in small letters.
std::string SerialText(const ASN1_INTEGER* serial);

// Whether the last error of OpenSSL is only that a text holds no further PEM block.
bool IsAtEndOfPem();

absl::Time NotBefore(const X509* certificate);
absl::Time NotAfter(const X509* certificate);
Digest Fingerprint(const X509* certificate);

// What the first certificate of a chain is to be good for.
enum class ChainUse { kCalling, kAnswering, kSigning };

// What a chain is verified against.
struct ChainCheck {
  X509* authority = nullptr;
  ChainUse use = ChainUse::kCalling;
  absl::Time now;
};

// What is wrong with a chain.
enum class ChainFault {
  kNone,
  kAnotherAuthority,
  kExpired,
  kNotYetValid,
  kAuthorityExpired,
  kOther
};

struct ChainVerdict {
  ChainFault fault = ChainFault::kNone;
  std::string_view reason;  // OpenSSL's words.
};

// Builds the path from the first certificate of `chain` to the authority and
// verifies signatures, dates and uses along it, as a TLS connection will.
ChainVerdict VerifyChain(const std::vector<OpensslPtr<X509>>& chain, const ChainCheck& check);

}  // namespace fedtune
