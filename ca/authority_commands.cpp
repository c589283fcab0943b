// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_commands.h"

#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "ca/authority_directory.h"
#include "ca/expiry_warnings.h"
#include "ca/folder_check.h"
#include "ca/presentation.h"
#include "fmt/format.h"
#include "privacy/crypto/hex.h"
#include "privacy/crypto/random_bytes.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/private_file.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// For what people are to do next: stdout is for results.
void Advise(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

// A client's file has its signer's request behind its own.
absl::StatusOr<std::vector<CertificateRequest>> ParseRequests(std::string_view pem) {
  std::vector<CertificateRequest> requests;
  for (const std::string_view block : SplitPem(pem)) {
    ASSIGN_OR_RETURN(CertificateRequest request, CertificateRequest::Parse(block));
    requests.push_back(std::move(request));
  }
  constexpr size_t kMost = 2;
  if (!requests.empty() && requests.size() <= kMost) return requests;
  return absl::InvalidArgumentError(
      fmt::format("{} certificate requests in the file; one or two are needed", requests.size()));
}

}  // namespace

absl::Status MakeAuthority(const InitOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const AuthorityDirectory directory,
                   AuthorityDirectory::Create(options.directory, options.federation,
                                              options.days * kDay, clock.Now()));
  const std::filesystem::path path = options.directory;
  Print(fmt::format("{}\n", (path / "ca.crt").string()));
  Advise(fmt::format(
      "The authority of federation {} is made.\n"
      "  {}   never leaves this machine\n"
      "  {}   give it to every member, as authority.pem; its fingerprint is\n"
      "    {}\n"
      "Keep a copy of the whole folder offline, a new one after each issue and roster.\n",
      options.federation, (path / "ca.key").string(), (path / "ca.crt").string(),
      directory.authority().certificate().fingerprint.ToString()));
  return absl::OkStatus();
}

absl::Status IssueCertificates(const IssueOptions& options, const Clock& clock) {
  if (std::filesystem::exists(options.out)) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists; choose another name with --out", options.out));
  }
  RETURN_IF_ERROR(CheckFolderOf(options.out));
  ASSIGN_OR_RETURN(const Role role, ParseRole(options.role));
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  WarnOfAuthority(directory, clock.Now());
  ASSIGN_OR_RETURN(const std::string pem, ReadNamedFile(options.request));
  const absl::StatusOr<std::vector<CertificateRequest>> requests = ParseRequests(pem);
  if (!requests.ok()) return Annotate(requests.status(), options.request);
  const Approval approval = {
      .identity = {.federation = directory.authority().certificate().federation,
                   .role = role,
                   .name = options.name},
      .hosts = options.hosts,
      .valid_for = options.days * kDay};
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued,
                   directory.Issue(*requests, approval, clock.Now()));
  std::string bundle;
  for (const IssuedCertificate& one : issued) bundle += one.pem;
  RETURN_IF_ERROR(WriteFileAtomically(options.out, bundle));
  Print(fmt::format("{}\n", options.out));
  for (const IssuedCertificate& one : issued) {
    Advise(fmt::format("Issued to {} until {}, for the key\n  {}\n",
                       Describe(one.certificate.identity),
                       absl::FormatTime("%Y-%m-%d", one.certificate.not_after, absl::UTCTimeZone()),
                       one.certificate.key_fingerprint.ToString()));
  }
  Advise(fmt::format("Send them {} and {}.\n", options.out,
                     (std::filesystem::path(options.directory) / "ca.crt").string()));
  return absl::OkStatus();
}

absl::Status ListIssued(const ListOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, directory.List());
  Print(PresentIssued(issued, clock.Now(), options.json));
  WarnOfAuthority(directory, clock.Now());
  return absl::OkStatus();
}

absl::Status ShowFile(const ShowOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const std::string pem, ReadNamedFile(options.file));
  const absl::StatusOr<std::string> text = PresentFile(pem, clock.Now(), options.json);
  if (!text.ok()) return Annotate(text.status(), options.file);
  Print(*text);
  return absl::OkStatus();
}

absl::Status RequestCertificate(const RequestOptions& options) {
  ASSIGN_OR_RETURN(const Role role, ParseRole(options.role));
  ASSIGN_OR_RETURN(
      const KeyAndRequest made,
      MakeKeyAndRequest(options.directory,
                        {.federation = options.federation, .role = role, .name = options.name},
                        options.fips ? CipherSuite::kNistP256 : CipherSuite::kCurve25519));
  Print(fmt::format("{}\n{}\n", made.key.string(), made.request.string()));
  Advise(made.next_step);
  return absl::OkStatus();
}

absl::Status SignRosterFile(const RosterSignOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  std::filesystem::path out = options.out;
  if (out.empty()) out = std::filesystem::path(options.directory) / "roster.json";
  RETURN_IF_ERROR(CheckFolderOf(out));
  ASSIGN_OR_RETURN(const std::string text, directory.SignRoster(clock.Now()));
  RETURN_IF_ERROR(WriteFileAtomically(out, text));
  ASSIGN_OR_RETURN(const RosterText roster, ParseRoster(text));
  Print(fmt::format("{}\n", out.string()));
  Advise(
      fmt::format("Version {} with {} institutions. Send it to the coordinator's operator, as "
                  "signing_roster; the coordinator reads it when it starts.\n",
                  roster.content.version, roster.content.entries.size()));
  WarnOfAuthority(directory, clock.Now());
  return WarnOfSigners(directory, clock.Now());
}

// Not the authority's in any way: but its custodian is who hands things out.
absl::Status MakeFederationKey(const std::string& out) {
  RETURN_IF_ERROR(CheckFolderOf(out));
  const std::string text = ToHex(RandomBytes(32)) + "\n";
  RETURN_IF_ERROR(WriteNewPrivateFile(out, SecretBytes({text.begin(), text.end()})));
  Print(fmt::format("{}\n", out));
  Advise(
      "Hand it to every institution by a way that the coordinator's operator has no part in, and "
      "never to the coordinator; each sets federation_key in client.toml.\n");
  return absl::OkStatus();
}

absl::Status ShowRoster(const RosterShowOptions& options, const Clock& clock) {
  const bool verified = !options.authority.empty();
  if (verified) {
    RETURN_IF_ERROR(SigningRoster::Load(options.file, options.authority, clock.Now()).status());
  }
  ASSIGN_OR_RETURN(const std::string text, ReadNamedFile(options.file));
  const absl::StatusOr<RosterText> roster = ParseRoster(text);
  if (!roster.ok()) return Annotate(roster.status(), options.file);
  Print(PresentRoster(roster->content, verified, clock.Now(), options.json));
  return absl::OkStatus();
}

}  // namespace fedtune
