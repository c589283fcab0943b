// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/roster_text.h"

namespace fedtune {

// What somebody remembers of the newest roster that they have seen.
struct RosterMark {
  uint64_t version = 0;  // 0: none yet.
  Digest digest;

  friend bool operator==(const RosterMark&, const RosterMark&) = default;
};

// The institutions of a federation with their signing keys, as its authority has
// signed them. The coordinator only passes it on. Movable, immutable.
class SigningRoster {
 public:
  // INVALID_ARGUMENT: as ParseRoster() and ParseAuthorityCertificate().
  // UNAUTHENTICATED: of another federation, not signed by its authority, signed
  // later than `now`, or the authority is not valid at `now`.
  static absl::StatusOr<SigningRoster> Verify(std::string_view text, std::string_view authority_pem,
                                              absl::Time now);

  // The same for files; messages name them.
  static absl::StatusOr<SigningRoster> Load(const std::filesystem::path& path,
                                            const std::filesystem::path& authority, absl::Time now);

  const std::string& federation() const { return content_.federation; }
  uint64_t version() const { return content_.version; }
  absl::Time signed_at() const { return content_.signed_at; }
  const std::vector<SigningRosterEntry>& entries() const { return content_.entries; }

  // As it came, for passing on.
  const std::string& text() const { return text_; }

  // The SHA-256 of the signed bytes: everybody with this digest has this roster.
  const Digest& digest() const { return digest_; }

  // Null: no such entry. Valid as long as the roster.
  const SigningRosterEntry* Find(uint32_t number) const;
  const SigningRosterEntry* Find(std::string_view institution) const;

  RosterMark mark() const { return {.version = version(), .digest = digest_}; }

  // Whether it may follow what was seen before: a newer one, or the same again.
  // FAILED_PRECONDITION: it is older, or another one of the same version.
  absl::Status CheckFollows(const RosterMark& seen) const;

  // Whether `key` is what the others know `institution` by.
  // NOT_FOUND: the institution is not on the roster.
  // FAILED_PRECONDITION: it is there with another key.
  absl::Status CheckLists(std::string_view institution, const SigningKey& key) const;

 private:
  SigningRoster(std::string text, RosterContent content);

  std::string text_;
  RosterContent content_;
  Digest digest_;
};

// `content` with the signature of the federation's authority, as Verify() takes it.
// INVALID_ARGUMENT: as CheckRoster().
absl::StatusOr<std::string> SignRoster(const RosterContent& content, const SigningKey& authority);

}  // namespace fedtune
