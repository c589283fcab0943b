// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/audit/log_tree.h"
#include "privacy/crypto/signing_key.h"

namespace fedtune {

// What a coordinator says of its log at some moment. It cannot take it back: it is signed,
// as a note of the form that transparency logs use (C2SP signed-note and tlog-checkpoint):
//
//   fedtune.log/north
//   1234
//   <root in base64>
//
//   — fedtune.log/north <key id and signature in base64>
//
// The key is that of the coordinator's certificate, which the federation's authority has
// issued: who has the certificate and the authority's can tell who said so, without a
// network and for ever.
struct Checkpoint {
  std::string federation;
  LogHead head;

  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// A note with the certificate whose key has signed it, as they travel and are kept.
struct SignedCheckpoint {
  std::string note;
  std::string certificate_pem;

  friend bool operator==(const SignedCheckpoint&, const SignedCheckpoint&) = default;
};

inline constexpr size_t kLongestCheckpoint = 4096;

// `key` is that of the coordinator's certificate (P-256).
std::string SignCheckpoint(const Checkpoint& checkpoint, const SigningKey& key);

// Reads the note and verifies that a coordinator of the authority's federation has signed it.
//
// INVALID_ARGUMENT: the note or a certificate is none. UNAUTHENTICATED: the certificate is
// not of this authority, the note is of another federation, or the signature is not of this
// certificate's key. PERMISSION_DENIED: the certificate is not a coordinator's.
// Whether the certificate has expired since is not looked at: what was said stays said.
absl::StatusOr<Checkpoint> VerifyCheckpoint(const SignedCheckpoint& signed_checkpoint,
                                            std::string_view authority_pem);

}  // namespace fedtune
