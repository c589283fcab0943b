// SPDX-License-Identifier: Apache-2.0

#include "client/round/secure_membership.h"

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status CheckSuite(const SigningKey& key, CipherSuite suite) {
  if (!IsOffered(suite)) {
    return absl::FailedPreconditionError(fmt::format(
        "the plan's secure.suite needs {}, which OpenSSL does not offer on this machine",
        SigningSuiteName(suite)));
  }
  if (key.suite() == suite) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("its signing key is for {}, and the plan's secure.suite needs {}",
                  SigningSuiteName(key.suite()), SigningSuiteName(suite)));
}

// The authority signs every roster with a higher version; a coordinator that
// shows an older one hides that somebody was taken off.
absl::Status Remember(const std::filesystem::path& path, const SigningRoster& roster,
                      std::string_view authority_pem, absl::Time now) {
  ASSIGN_OR_RETURN(const std::optional<SigningRoster> seen,
                   LoadSeenRoster(path, authority_pem, now));
  if (seen.has_value()) {
    RETURN_IF_ERROR(roster.CheckFollows(seen->mark()));
    if (seen->mark() == roster.mark()) return absl::OkStatus();
  }
  return WriteFileAtomically(path, roster.text());
}

}  // namespace

absl::StatusOr<std::optional<SigningRoster>> LoadSeenRoster(const std::filesystem::path& path,
                                                            std::string_view authority_pem,
                                                            absl::Time now) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  absl::StatusOr<SigningRoster> seen = SigningRoster::Verify(*text, authority_pem, now);
  if (seen.ok()) return *std::move(seen);
  return absl::Status(
      seen.status().code(),
      fmt::format("the roster seen last, {0}: {1}; if the federation has a new authority since, or "
                  "the file is damaged, remove it",
                  path.string(), Message(seen.status())));
}

absl::StatusOr<SecureMembership> JoinSecureRun(const MembershipSource& source,
                                               std::string_view roster_text, CipherSuite suite,
                                               absl::Time now) {
  if (!source.key.ok()) {
    return Annotate(source.key.status(), "it cannot sign in secure rounds");
  }
  const SigningKey& key = **source.key;
  RETURN_IF_ERROR(CheckSuite(key, suite));
  if (roster_text.empty()) {
    return absl::InvalidArgumentError("the coordinator sent no signing roster");
  }
  ASSIGN_OR_RETURN(const std::string authority, ReadFile(source.authority));
  const auto roster = SigningRoster::Verify(roster_text, authority, now);
  if (!roster.ok()) return Annotate(roster.status(), "the coordinator's signing roster");
  RETURN_IF_ERROR(Remember(source.seen_roster, *roster, authority, now));
  RETURN_IF_ERROR(roster->CheckLists(source.institution, key));
  SecureMembership membership{.federation = roster->federation(),
                              .roster = roster->digest(),
                              .number = roster->Find(source.institution)->number,
                              .key = *source.key,
                              .signing_keys = {},
                              .federation_key = source.federation_key};
  for (const SigningRosterEntry& entry : roster->entries()) {
    if (entry.suite == suite) membership.signing_keys[entry.number] = entry.public_key;
  }
  return membership;
}

}  // namespace fedtune
