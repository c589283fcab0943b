// SPDX-License-Identifier: Apache-2.0

#include "ca/revocation_commands.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "ca/authority_directory.h"
#include "ca/folder_check.h"
#include "fmt/format.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {
namespace {

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// For what people are to do next: stdout is for results.
void Advise(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }

std::filesystem::path FileFor(const std::string& out, const std::string& directory) {
  return out.empty() ? std::filesystem::path(directory) / "revoked.crl"
                     : std::filesystem::path(out);
}

absl::Status CheckSaysWhat(const RevokeOptions& options) {
  const bool by_member = !options.role.empty() || !options.name.empty();
  const int ways = (options.certificate.empty() ? 0 : 1) + (options.serial.empty() ? 0 : 1) +
                   (by_member ? 1 : 0);
  if (ways == 1 && options.role.empty() == options.name.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "say what is to be revoked in one way: --certificate FILE, --serial SERIAL, or --role ROLE "
      "with --name NAME for all that a member has");
}

// As other programs write it, too: 3F:A2:... or 3FA2...
absl::StatusOr<std::string> ReadSerial(std::string_view text) {
  std::string serial;
  for (const char c : text) {
    if (c == ':') continue;
    serial += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (!serial.empty() && serial.find_first_not_of("0123456789abcdef") == serial.npos) {
    return serial;
  }
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no serial: it has hexadecimal digits, as \"fedtune-ca list\" shows it",
                  PrintableText(text, 80)));
}

absl::StatusOr<Revoked> Revoke(const RevokeOptions& options, AuthorityDirectory& directory,
                               absl::Time now) {
  if (!options.certificate.empty()) {
    ASSIGN_OR_RETURN(const std::string pem, ReadNamedFile(options.certificate));
    absl::StatusOr<Revoked> revoked = directory.RevokeFile(pem, now);
    if (!revoked.ok()) return Annotate(revoked.status(), options.certificate);
    return revoked;
  }
  if (!options.serial.empty()) {
    ASSIGN_OR_RETURN(const std::string serial, ReadSerial(options.serial));
    return directory.Revoke({&serial, 1}, now);
  }
  ASSIGN_OR_RETURN(const Role role, ParseRole(options.role));
  const Identity member = {.federation = directory.authority().certificate().federation,
                           .role = role,
                           .name = options.name};
  RETURN_IF_ERROR(CheckIdentity(member));
  return directory.RevokeMember(member, now);
}

// A file of the same content stays as it is.
std::function<absl::Status(const std::string&)> PuttingInPlace(const std::filesystem::path& file) {
  return [file](const std::string& list) {
    const absl::StatusOr<std::string> there = ReadFile(file);
    if (there.ok() && *there == list) return absl::OkStatus();
    return WriteFileAtomically(file, list);
  };
}

void AdviseLines(std::string_view title, const std::vector<IssuedCertificate>& certificates) {
  if (certificates.empty()) return;
  Advise(fmt::format("{}\n", title));
  for (const IssuedCertificate& one : certificates) {
    const Certificate& certificate = one.certificate;
    Advise(fmt::format("  {}, serial {}, valid until {}{}\n", Describe(certificate.identity),
                       certificate.serial, Day(certificate.not_after),
                       one.revoked_at ? fmt::format(", revoked {}", Day(*one.revoked_at)) : ""));
  }
}

bool HasRole(const std::vector<IssuedCertificate>& certificates, Role role) {
  return std::ranges::any_of(certificates, [role](const IssuedCertificate& one) {
    return one.certificate.identity.role == role;
  });
}

absl::Status AdviseOnList(const std::string& list) {
  ASSIGN_OR_RETURN(const RevocationContent content, ParseRevocationList(list));
  Advise(fmt::format(
      "List number {} has {} certificate{}. Send it to the coordinator's operator, who puts it in "
      "the place of the file that revocation_list names: it counts within a minute, without a "
      "restart.\n",
      content.number, content.revoked.size(), content.revoked.size() == 1 ? "" : "s"));
  return absl::OkStatus();
}

absl::Status AdviseOn(const Revoked& revoked, const std::string& list,
                      const std::string& directory) {
  AdviseLines("Revoked:", revoked.now);
  AdviseLines("Were revoked before:", revoked.before);
  AdviseLines("Not revoked, and of the same member:", revoked.still_valid);
  RETURN_IF_ERROR(AdviseOnList(list));
  if (HasRole(revoked.now, Role::kSigner)) {
    Advise(fmt::format(
        "A signer is on the roster until there is another: sign one without it (fedtune-ca roster "
        "sign --dir {}), with which the coordinator is restarted.\n",
        directory));
  }
  if (HasRole(revoked.now, Role::kCoordinator)) {
    Advise(
        "Clients and administrators refuse a coordinator by their own copy of the list: send it to "
        "all of them.\n");
  }
  if (!revoked.now.empty()) {
    Advise("No certificate is issued for a revoked key again: who stays makes another key.\n");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RevokeCertificates(const RevokeOptions& options, const Clock& clock) {
  RETURN_IF_ERROR(CheckSaysWhat(options));
  const std::filesystem::path out = FileFor(options.out, options.directory);
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  RETURN_IF_ERROR(CheckFolderOf(out));
  ASSIGN_OR_RETURN(const Revoked revoked, Revoke(options, directory, clock.Now()));
  const absl::StatusOr<std::string> list =
      directory.PutNewestList(clock.Now(), PuttingInPlace(out));
  if (!list.ok()) {
    return Annotate(list.status(),
                    fmt::format("what was named is revoked, but its list is not in place; "
                                "write it with: fedtune-ca crl --dir {}",
                                options.directory));
  }
  Print(fmt::format("{}\n", out.string()));
  return AdviseOn(revoked, *list, options.directory);
}

absl::Status WriteRevocationList(const RevocationListOptions& options, const Clock& clock) {
  const std::filesystem::path out = FileFor(options.out, options.directory);
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  RETURN_IF_ERROR(CheckFolderOf(out));
  ASSIGN_OR_RETURN(const std::string list,
                   directory.PutNewestList(clock.Now(), PuttingInPlace(out)));
  Print(fmt::format("{}\n", out.string()));
  return AdviseOnList(list);
}

}  // namespace fedtune
