// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
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
// The key id is the first four bytes of KeyFingerprint(), the signature ECDSA's over what
// stands before the empty line, in DER.
//
// The key is that of the coordinator's certificate, which the federation's authority has
// issued: who has the certificate and the authority's can tell who said so, without a
// network and for ever.
struct LogCheckpoint {
  std::string federation;
  LogHead head;

  friend bool operator==(const LogCheckpoint&, const LogCheckpoint&) = default;
};

// A note with the certificate whose key has signed it, as they travel and are kept.
struct SignedCheckpoint {
  std::string note;
  std::string certificate_pem;

  friend bool operator==(const SignedCheckpoint&, const SignedCheckpoint&) = default;
};

// Room for the signatures of others, which a note may have besides the coordinator's.
inline constexpr size_t kLongestCheckpoint = 128 * 1024;

// `key` is that of the coordinator's certificate (P-256). The same checkpoint gives a new
// signature each time.
std::string SignCheckpoint(const LogCheckpoint& checkpoint, const SigningKey& key);

// Reads the note and verifies that a coordinator of the authority's federation has signed
// it. Signatures by other names or keys are passed over.
//
// INVALID_ARGUMENT: the note or a certificate is none. UNAUTHENTICATED: the certificate is
// not of this authority, the note is of another federation, or the signature is not of this
// certificate's key. PERMISSION_DENIED: the certificate is not a coordinator's.
// The certificate is judged as of the day it was issued. Whether it has expired since is
// not looked at: what was said stays said.
absl::StatusOr<LogCheckpoint> VerifyCheckpoint(const SignedCheckpoint& signed_checkpoint,
                                               std::string_view authority_pem);

}  // namespace fedtune
