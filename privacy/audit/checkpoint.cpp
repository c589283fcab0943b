// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/ecdsa_encoding.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/public_key.h"

namespace fedtune {
namespace {

constexpr std::string_view kOriginPrefix = "fedtune.log/";
constexpr std::string_view kSignaturePrefix = "\u2014 ";  // An em dash.
constexpr size_t kKeyIdSize = 4;
constexpr size_t kMostSignatures = 64;
constexpr size_t kTextLines = 3;

absl::Status NoCheckpoint(std::string_view why) {
  return absl::InvalidArgumentError(fmt::format("the log's checkpoint is none: {}", why));
}

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape({bytes.data(), bytes.size()});
}

// Takes the one encoding of some bytes: no spaces, no stray bits, with padding.
absl::StatusOr<std::string> FromBase64(std::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape({text.data(), text.size()}, &bytes) || Base64(bytes) != text) {
    return NoCheckpoint("what should be base64 is not");
  }
  return bytes;
}

std::string OriginOf(std::string_view federation) {
  return fmt::format("{}{}", kOriginPrefix, federation);
}

// What is signed.
std::string TextOf(const LogCheckpoint& checkpoint) {
  return fmt::format("{}\n{}\n{}\n", OriginOf(checkpoint.federation), checkpoint.head.size,
                     Base64(checkpoint.head.root.ToBinary()));
}

std::string KeyIdOf(const Digest& key_fingerprint) {
  return key_fingerprint.ToBinary().substr(0, kKeyIdSize);
}

struct NoteSignature {
  std::string name;
  std::string key_id;
  std::string bytes;
};

struct Note {
  LogCheckpoint checkpoint;
  std::vector<NoteSignature> signatures;
};

// The lines of a text of which every line ends.
absl::StatusOr<std::vector<std::string_view>> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return NoCheckpoint("its last line does not end");
    if (lines.size() == kTextLines + 1 + kMostSignatures) {
      return NoCheckpoint(fmt::format("it has more than {} signatures", kMostSignatures));
    }
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

absl::StatusOr<std::string> ReadOrigin(std::string_view line) {
  if (!line.starts_with(kOriginPrefix)) {
    return NoCheckpoint(fmt::format("it is of another kind of log than {}...", kOriginPrefix));
  }
  std::string federation(line.substr(kOriginPrefix.size()));
  RETURN_IF_ERROR(CheckIdentityName("federation", federation));
  return federation;
}

absl::StatusOr<uint64_t> ReadSize(std::string_view line) {
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size);
  if (error != std::errc() || fmt::to_string(size) != line) {
    return NoCheckpoint("its second line is no number of entries");
  }
  return size;
}

absl::StatusOr<LogCheckpoint> ReadText(std::span<const std::string_view> lines) {
  ASSIGN_OR_RETURN(std::string federation, ReadOrigin(lines[0]));
  ASSIGN_OR_RETURN(const uint64_t size, ReadSize(lines[1]));
  ASSIGN_OR_RETURN(const std::string binary, FromBase64(lines[2]));
  ASSIGN_OR_RETURN(const Digest root, Digest::FromBinary(binary, "root of the log"));
  if (size == 0 && root != MerkleRoot({})) return NoCheckpoint("an empty log has another root");
  return LogCheckpoint{.federation = std::move(federation), .head = {size, root}};
}

absl::StatusOr<NoteSignature> ReadSignature(std::string_view line) {
  if (!line.starts_with(kSignaturePrefix)) {
    return NoCheckpoint("a line below the empty one is no signature");
  }
  line.remove_prefix(kSignaturePrefix.size());
  const size_t space = line.find(' ');
  const std::string_view name = line.substr(0, space);
  if (space == std::string_view::npos || name.empty() || name.find('+') != name.npos ||
      PrintableText(name) != name) {
    return NoCheckpoint("a signature has no name");
  }
  ASSIGN_OR_RETURN(const std::string bytes, FromBase64(line.substr(space + 1)));
  if (bytes.size() <= kKeyIdSize) return NoCheckpoint("a signature is too short");
  return NoteSignature{.name = std::string(name),
                       .key_id = bytes.substr(0, kKeyIdSize),
                       .bytes = bytes.substr(kKeyIdSize)};
}

absl::StatusOr<Note> ReadNote(std::string_view text) {
  if (text.size() > kLongestCheckpoint) {
    return NoCheckpoint(fmt::format("it has more than {} bytes", kLongestCheckpoint));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string_view> lines, LinesOf(text));
  if (lines.size() <= kTextLines + 1 || !lines[kTextLines].empty()) {
    return NoCheckpoint(
        "it does not consist of federation, size, root, an empty line and signatures");
  }
  Note note;
  ASSIGN_OR_RETURN(note.checkpoint, ReadText(std::span(lines).first(kTextLines)));
  for (const std::string_view line : std::span(lines).subspan(kTextLines + 1)) {
    ASSIGN_OR_RETURN(NoteSignature signature, ReadSignature(line));
    note.signatures.push_back(std::move(signature));
  }
  return note;
}

// A coordinator's certificate, good when it was issued.
absl::StatusOr<Certificate> CheckCoordinator(std::string_view pem,
                                             const AuthorityCertificate& authority,
                                             std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(pem));
  // An authority's first certificates may begin before its own does: clocks differ.
  const absl::Time issued = std::max(certificate.not_before, authority.not_before);
  return CheckCertificate(pem, authority_pem, Role::kCoordinator, issued);
}

absl::Status NotSigned(std::string_view why) {
  return absl::UnauthenticatedError(
      fmt::format("the log's checkpoint is not signed by the coordinator's certificate that came "
                  "with it: {}",
                  why));
}

absl::Status CheckSigned(const Note& note, const Certificate& certificate,
                         const VerifyingKey& key) {
  const std::string name = OriginOf(note.checkpoint.federation);
  const std::string key_id = KeyIdOf(certificate.key_fingerprint);
  const std::string text = TextOf(note.checkpoint);
  bool is_signed = false;
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != name || signature.key_id != key_id) continue;
    const absl::StatusOr<Bytes> numbers = EcdsaFromDer(SpanOf(signature.bytes));
    if (!numbers.ok() || !VerifySignature(key.suite, key.bytes, SpanOf(text), *numbers).ok()) {
      return NotSigned("the signature is not of this text");
    }
    is_signed = true;
  }
  return is_signed ? absl::OkStatus() : NotSigned("no signature is of its key");
}

}  // namespace

std::string SignCheckpoint(const LogCheckpoint& checkpoint, const SigningKey& key) {
  Check(key.suite() == CipherSuite::kNistP256, "a coordinator's key is on P-256");
  const std::string text = TextOf(checkpoint);
  std::string signature = KeyIdOf(KeyFingerprint(key.get()));
  for (const uint8_t byte : EcdsaToDer(key.Sign(SpanOf(text)))) {
    signature.push_back(static_cast<char>(byte));
  }
  return fmt::format("{}\n{}{} {}\n", text, kSignaturePrefix, OriginOf(checkpoint.federation),
                     Base64(signature));
}

absl::StatusOr<LogCheckpoint> VerifyCheckpoint(const SignedCheckpoint& signed_checkpoint,
                                               std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const Note note, ReadNote(signed_checkpoint.note));
  ASSIGN_OR_RETURN(const AuthorityCertificate authority, ParseAuthorityCertificate(authority_pem));
  ASSIGN_OR_RETURN(const Certificate certificate,
                   CheckCoordinator(signed_checkpoint.certificate_pem, authority, authority_pem));
  if (note.checkpoint.federation != authority.federation) {
    return absl::UnauthenticatedError(
        fmt::format("the log's checkpoint is of federation {}, but the authority is that of "
                    "federation {}",
                    note.checkpoint.federation, authority.federation));
  }
  ASSIGN_OR_RETURN(const VerifyingKey key, ReadVerifyingKey(signed_checkpoint.certificate_pem));
  RETURN_IF_ERROR(CheckSigned(note, certificate, key));
  return note.checkpoint;
}

}  // namespace fedtune
