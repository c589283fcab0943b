// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/cipher_suite.h"

namespace fedtune {

// An institution and the key by which the others know what it says.
struct SigningRosterEntry {
  // Stands for the institution in this federation for ever.
  uint32_t number = 0;
  std::string institution;
  CipherSuite suite = CipherSuite::kCurve25519;
  std::vector<uint8_t> public_key;

  friend bool operator==(const SigningRosterEntry&, const SigningRosterEntry&) = default;
};

// What an authority signs. In a file it is JSON, for people to look at; what is
// signed is RosterBytes(), however the JSON is laid out.
struct RosterContent {
  std::string federation;
  uint64_t version = 0;                     // From 1; grows with every signing.
  absl::Time signed_at;                     // Whole seconds.
  std::vector<SigningRosterEntry> entries;  // By number.

  friend bool operator==(const RosterContent&, const RosterContent&) = default;
};

struct RosterText {
  RosterContent content;
  std::vector<uint8_t> signature;
};

inline constexpr size_t kLongestRoster = 4 << 20;
inline constexpr size_t kMostRosterEntries = 10'000;

// "ed25519" or "ecdsa-p256".
std::string_view SigningSuiteName(CipherSuite suite);

// Reads what WriteRoster() writes; who signed it is not looked at.
// INVALID_ARGUMENT: says where the text is none, too long, has a key too many or
// a value of the wrong form. Otherwise as CheckRoster().
absl::StatusOr<RosterText> ParseRoster(std::string_view text);

std::string WriteRoster(const RosterText& roster);

// INVALID_ARGUMENT: no version, a name that is none, entries that are too many
// or not in the order of their numbers, a number, institution or key that is
// there twice, or a key that is none.
absl::Status CheckRoster(const RosterContent& content);

// Requires: CheckRoster() finds nothing wrong.
std::vector<uint8_t> RosterBytes(const RosterContent& content);

}  // namespace fedtune
