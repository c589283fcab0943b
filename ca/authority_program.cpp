// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "base/files.h"
#include "base/number_checks.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "ca/authority_directory.h"
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

struct InitOptions {
  std::string directory;
  std::string federation;
  int days = 3650;
};

struct IssueOptions {
  std::string directory;
  std::string request;
  std::string role;
  std::string name;
  std::vector<std::string> hosts;
  int days = 90;
  std::string out;
};

struct ListOptions {
  std::string directory;
  bool json = false;
};

struct ShowOptions {
  std::string file;
  bool json = false;
};

struct RequestOptions {
  std::string directory;
  std::string federation;
  std::string role;
  std::string name;
  bool fips = false;
};

struct RosterSignOptions {
  std::string directory;
  std::string out;
};

struct RosterShowOptions {
  std::string file;
  std::string authority;
  bool json = false;
};

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// For what people are to do next: stdout is for results.
void Advise(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

absl::Status Init(const InitOptions& options, const Clock& clock) {
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

// Whether a new file can be written, asked before what is to be in it is recorded.
absl::Status CheckFolderOf(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (!std::filesystem::is_directory(folder)) {
    return absl::InvalidArgumentError(
        fmt::format("there is no folder {} for {}", folder.string(), file.filename().string()));
  }
  return ::access(folder.c_str(), W_OK) == 0 ? absl::OkStatus()
                                             : ErrnoToStatus(errno, "write into", folder);
}

absl::Status Issue(const IssueOptions& options, const Clock& clock) {
  if (std::filesystem::exists(options.out)) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists; choose another name with --out", options.out));
  }
  RETURN_IF_ERROR(CheckFolderOf(options.out));
  ASSIGN_OR_RETURN(const Role role, ParseRole(options.role));
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
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

absl::Status List(const ListOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, directory.List());
  Print(PresentIssued(issued, clock.Now(), options.json));
  return absl::OkStatus();
}

absl::Status Show(const ShowOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const std::string pem, ReadNamedFile(options.file));
  const absl::StatusOr<std::string> text = PresentFile(pem, clock.Now(), options.json);
  if (!text.ok()) return Annotate(text.status(), options.file);
  Print(*text);
  return absl::OkStatus();
}

absl::Status Request(const RequestOptions& options) {
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
  return absl::OkStatus();
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

// A hundred years; certificates have no room for dates behind the year 9999.
constexpr int64_t kMostDays = 36'500;

constexpr char kAuthorityFolder[] = "The authority's folder";
constexpr char kRoles[] = "client, coordinator, administrator or signer";

void AddInit(CommandLine& line, InitOptions& options, const Clock& clock) {
  CLI::App& command =
      line.Add({.name = "init",
                .summary = "Makes the authority of a new federation.",
                .examples = {"fedtune-ca init --federation north --dir /srv/north-ca",
                             "fedtune-ca init --federation north --dir ca --days 1825"}},
               [&] { return Init(options, clock); });
  command.add_option("--federation", options.federation, "Its name: a-z, 0-9 and -")->required();
  command.add_option("--dir", options.directory, "The folder to make it in")->required();
  command.add_option("--days", options.days, "How many days it is valid")
      ->capture_default_str()
      ->check(WholeNumber(1, kMostDays));
}

void AddIssue(CommandLine& line, IssueOptions& options, const Clock& clock) {
  CLI::App& command = line.Add(
      {.name = "issue",
       .summary = "Issues a certificate for a request that you have checked.",
       .examples = {"fedtune-ca issue --dir ca --request request.pem --role client --name st-anna "
                    "--out st-anna.crt",
                    "fedtune-ca issue --dir ca --request hub.pem --role coordinator --name hub "
                    "--host fl.example.org --out hub.crt",
                    "fedtune-ca issue --dir ca --request ada.pem --role administrator --name ada "
                    "--days 30 --out ada.crt"}},
      [&] { return Issue(options, clock); });
  command.add_option("--dir", options.directory, kAuthorityFolder)->required();
  command.add_option("--request", options.request, "The request, request.pem")->required();
  command.add_option("--role", options.role, kRoles)->required();
  command.add_option("--name", options.name, "Whom you issue it to; the request must agree")
      ->required();
  command.add_option("--host", options.hosts,
                     "A coordinator's DNS name or address, for other programs than ours; may be "
                     "repeated");
  command.add_option("--days", options.days, "How many days it is valid")
      ->capture_default_str()
      ->check(WholeNumber(1, kMostDays));
  command.add_option("--out", options.out, "The file for the certificate")->required();
}

void AddList(CommandLine& line, ListOptions& options, const Clock& clock) {
  CLI::App& command = line.Add(
      {.name = "list",
       .summary = "Lists every certificate that was issued.",
       .examples = {"fedtune-ca list --dir ca", "fedtune-ca list --dir ca --json | jq .name"}},
      [&] { return List(options, clock); });
  command.add_option("--dir", options.directory, kAuthorityFolder)->required();
  command.add_flag("--json", options.json, "One JSON object a line");
}

void AddShow(CommandLine& line, ShowOptions& options, const Clock& clock) {
  CLI::App& command =
      line.Add({.name = "show",
                .summary = "Shows what a certificate or a request says.",
                .examples = {"fedtune-ca show request.pem", "fedtune-ca show st-anna.crt --json",
                             "fedtune-ca show ca/ca.crt"}},
               [&] { return Show(options, clock); });
  command.add_option("file", options.file, "A certificate or request in PEM")->required();
  command.add_flag("--json", options.json, "One JSON object");
}

void AddRequest(CommandLine& line, RequestOptions& options) {
  CLI::App& command =
      line.Add({.name = "request",
                .summary = "Makes a key and a request for a certificate, on the machine that will "
                           "use them.",
                .examples = {"fedtune-ca request --federation north --role client --name st-anna "
                             "--dir /var/lib/fedtune/keys",
                             "fedtune-ca request --federation north --role administrator --name "
                             "ada --dir ~/.config/fedtune/keys"}},
               [&] { return Request(options); });
  command.add_option("--federation", options.federation, "The federation's name")->required();
  command.add_option("--role", options.role, kRoles)->required();
  command.add_option("--name", options.name, "Your name in the federation: a-z, 0-9 and -")
      ->required();
  command.add_option("--dir", options.directory, "The folder for the keys and request.pem")
      ->required();
  command.add_flag("--fips", options.fips,
                   "A signing key on P-256 in place of Ed25519, for sites under FIPS 140");
}

void AddFederationKey(CommandLine& line, std::string& out) {
  CLI::App& command =
      line.Add({"federation-key",
                "Makes a secret that institutions share and the coordinator has not.",
                {"fedtune-ca federation-key --out federation.key"}},
               [&] { return MakeFederationKey(out); });
  command.add_option("--out", out, "The file for it")->required();
}

void AddRoster(CommandLine& line, RosterSignOptions& sign, RosterShowOptions& show,
               const Clock& clock) {
  CLI::App& roster = line.AddGroup({"roster",
                                    "The list of the institutions' signing keys.",
                                    {"fedtune-ca roster sign --dir ca --out roster.json",
                                     "fedtune-ca roster show roster.json --authority ca.crt"}});
  CLI::App& signing = line.AddTo(
      roster,
      {"sign",
       "Signs the list of all institutions with a valid signing certificate.",
       {"fedtune-ca roster sign --dir ca", "fedtune-ca roster sign --dir ca --out roster.json"}},
      [&] { return SignRosterFile(sign, clock); });
  signing.add_option("--dir", sign.directory, kAuthorityFolder)->required();
  signing.add_option("--out", sign.out, "The file for it (roster.json in the authority's folder)");
  CLI::App& showing = line.AddTo(roster,
                                 {"show",
                                  "Shows what a roster says, and whether its signature is good.",
                                  {"fedtune-ca roster show roster.json --authority ca.crt",
                                   "fedtune-ca roster show roster.json --json"}},
                                 [&] { return ShowRoster(show, clock); });
  showing.add_option("file", show.file, "The roster")->required();
  showing.add_option("--authority", show.authority, "The authority's certificate, to verify it");
  showing.add_flag("--json", show.json, "One JSON object");
}

}  // namespace

int RunAuthorityProgram(int argc, const char* const* argv, const Clock& clock) {
  InitOptions init;
  IssueOptions issue;
  ListOptions list;
  ShowOptions show;
  RequestOptions request;
  RosterSignOptions roster_sign;
  RosterShowOptions roster_show;
  std::string federation_key;
  CommandLine line(
      {.name = "fedtune-ca",
       .summary = "Keeps the authority of a federation, which certifies its members.",
       .examples = {"fedtune-ca init --federation north --dir ca", "fedtune-ca show request.pem",
                    "fedtune-ca issue --dir ca --request request.pem --role client "
                    "--name st-anna --out st-anna.crt"}});
  AddInit(line, init, clock);
  AddIssue(line, issue, clock);
  AddList(line, list, clock);
  AddShow(line, show, clock);
  AddRequest(line, request);
  AddRoster(line, roster_sign, roster_show, clock);
  AddFederationKey(line, federation_key);
  return line.Run(argc, argv);
}

}  // namespace fedtune
