// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/signing_roster.h"

#include <algorithm>
#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/clock_tolerance.h"
#include "privacy/identity/public_key.h"

namespace fedtune {
namespace {

std::string Minute(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

absl::Status CheckTimes(const RosterContent& content, const AuthorityCertificate& authority,
                        absl::Time now) {
  if (now < authority.not_before || now > authority.not_after) {
    return absl::UnauthenticatedError(fmt::format(
        "the certificate of the authority of federation {} is valid from {} to {}, and it is {}",
        authority.federation, Minute(authority.not_before), Minute(authority.not_after),
        Minute(now)));
  }
  if (content.signed_at <= now + kClockTolerance) return absl::OkStatus();
  return absl::UnauthenticatedError(
      fmt::format("the roster was signed at {}, and it is {}; check this machine's clock",
                  Minute(content.signed_at), Minute(now)));
}

absl::Status CheckAuthority(const RosterText& roster, std::string_view authority_pem,
                            absl::Time now) {
  ASSIGN_OR_RETURN(const AuthorityCertificate authority, ParseAuthorityCertificate(authority_pem));
  ASSIGN_OR_RETURN(const VerifyingKey key, ReadVerifyingKey(authority_pem));
  const std::string& federation = roster.content.federation;
  if (federation != authority.federation) {
    return absl::UnauthenticatedError(
        fmt::format("the roster is of federation {}, but the authority is that of federation {}",
                    federation, authority.federation));
  }
  if (!VerifySignature(key.suite, key.bytes, RosterBytes(roster.content), roster.signature).ok()) {
    return absl::UnauthenticatedError(fmt::format(
        "the roster is not signed by the authority of federation {}, or was changed since; ask "
        "its custodian for it: fedtune-ca roster sign",
        federation));
  }
  return CheckTimes(roster.content, authority, now);
}

}  // namespace

SigningRoster::SigningRoster(std::string text, RosterContent content)
    : text_(std::move(text)),
      content_(std::move(content)),
      digest_(Sha256Of(ByteSpan(RosterBytes(content_)))) {}

absl::StatusOr<SigningRoster> SigningRoster::Verify(std::string_view text,
                                                    std::string_view authority_pem,
                                                    absl::Time now) {
  ASSIGN_OR_RETURN(RosterText roster, ParseRoster(text));
  RETURN_IF_ERROR(CheckAuthority(roster, authority_pem, now));
  return SigningRoster(std::string(text), std::move(roster.content));
}

absl::StatusOr<SigningRoster> SigningRoster::Load(const std::filesystem::path& path,
                                                  const std::filesystem::path& authority,
                                                  absl::Time now) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  RETURN_IF_ERROR(OfNamedFile(text.status()));
  const absl::StatusOr<std::string> authority_pem = ReadFile(authority);
  RETURN_IF_ERROR(OfNamedFile(authority_pem.status()));
  absl::StatusOr<SigningRoster> roster = Verify(*text, *authority_pem, now);
  if (!roster.ok()) return Annotate(roster.status(), path.string());
  return roster;
}

const SigningRosterEntry* SigningRoster::Find(uint32_t number) const {
  const auto found = std::ranges::lower_bound(entries(), number, {}, &SigningRosterEntry::number);
  return found == entries().end() || found->number != number ? nullptr : &*found;
}

const SigningRosterEntry* SigningRoster::Find(std::string_view institution) const {
  const auto found = std::ranges::find(entries(), institution, &SigningRosterEntry::institution);
  return found == entries().end() ? nullptr : &*found;
}

absl::Status SigningRoster::CheckFollows(const RosterMark& seen) const {
  if (version() < seen.version) {
    return absl::FailedPreconditionError(
        fmt::format("the roster has version {}, but version {} has been seen: an older one is "
                    "never taken",
                    version(), seen.version));
  }
  if (version() == seen.version && digest_ != seen.digest) {
    return absl::FailedPreconditionError(fmt::format(
        "there are two rosters of version {}: tell the custodian of the authority", version()));
  }
  return absl::OkStatus();
}

absl::Status SigningRoster::CheckLists(std::string_view institution, const SigningKey& key) const {
  static constexpr char kNewer[] =
      "the custodian signs a newer one with: fedtune-ca roster sign, and the coordinator has to be "
      "restarted with it";
  const SigningRosterEntry* const entry = Find(institution);
  if (entry == nullptr) {
    return absl::NotFoundError(
        fmt::format("{} is not on the roster of version {}; {}", institution, version(), kNewer));
  }
  if (entry->suite == key.suite() && entry->public_key == key.public_key()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format(
      "{} is on the roster of version {} with another key; {}", institution, version(), kNewer));
}

absl::StatusOr<std::string> SignRoster(const RosterContent& content, const SigningKey& authority) {
  RETURN_IF_ERROR(CheckRoster(content));
  return WriteRoster({.content = content, .signature = authority.Sign(RosterBytes(content))});
}

}  // namespace fedtune
