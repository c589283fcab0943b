// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "ca/authority_directory.h"
#include "ca/presentation.h"
#include "fmt/format.h"
#include "privacy/identity/key_directory.h"

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
  Advise(
      fmt::format("The authority of federation {} is made.\n"
                  "  {}   never leaves this machine; keep a copy offline\n"
                  "  {}   give it to every member, as authority.pem; its fingerprint is\n"
                  "    {}\n",
                  options.federation, (path / "ca.key").string(), (path / "ca.crt").string(),
                  directory.authority().certificate().fingerprint.ToString()));
  return absl::OkStatus();
}

absl::Status Issue(const IssueOptions& options, const Clock& clock) {
  if (std::filesystem::exists(options.out)) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists; choose another name with --out", options.out));
  }
  ASSIGN_OR_RETURN(const Role role, ParseRole(options.role));
  ASSIGN_OR_RETURN(AuthorityDirectory directory, AuthorityDirectory::Open(options.directory));
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(options.request));
  const absl::StatusOr<CertificateRequest> request = CertificateRequest::Parse(pem);
  if (!request.ok()) return Annotate(request.status(), options.request);
  const Approval approval = {
      .identity = {.federation = directory.authority().certificate().federation,
                   .role = role,
                   .name = options.name},
      .hosts = options.hosts,
      .valid_for = options.days * kDay};
  ASSIGN_OR_RETURN(const IssuedCertificate issued,
                   directory.Issue(*request, approval, clock.Now()));
  RETURN_IF_ERROR(WriteFileAtomically(options.out, issued.pem));
  Print(fmt::format("{}\n", options.out));
  Advise(
      fmt::format("Issued to {} until {}, for the key\n  {}\n"
                  "Send them {} and {}.\n",
                  Describe(issued.certificate.identity),
                  absl::FormatTime("%Y-%m-%d", issued.certificate.not_after, absl::UTCTimeZone()),
                  issued.certificate.key_fingerprint.ToString(), options.out,
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
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(options.file));
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
                        {.federation = options.federation, .role = role, .name = options.name}));
  Print(fmt::format("{}\n{}\n", made.key.string(), made.request.string()));
  Advise(made.next_step);
  return absl::OkStatus();
}

constexpr char kAuthorityFolder[] = "The authority's folder";
constexpr char kRoles[] = "client, coordinator or administrator";

void AddInit(CommandLine& line, InitOptions& options, const Clock& clock) {
  CLI::App& command =
      line.Add({.name = "init",
                .summary = "Makes the authority of a new federation.",
                .examples = {"fedtune-ca init --federation north --dir /srv/north-ca",
                             "fedtune-ca init --federation north --dir ca --days 1825"}},
               [&] { return Init(options, clock); });
  command.add_option("--federation", options.federation, "Its name: a-z, 0-9 and -")->required();
  command.add_option("--dir", options.directory, "The folder to make it in")->required();
  command.add_option("--days", options.days, "How many days it is valid")->capture_default_str();
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
  command.add_option("--days", options.days, "How many days it is valid")->capture_default_str();
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
  command.add_option("--dir", options.directory, "The folder for key.pem and request.pem")
      ->required();
}

}  // namespace

int RunAuthorityProgram(int argc, const char* const* argv, const Clock& clock) {
  InitOptions init;
  IssueOptions issue;
  ListOptions list;
  ShowOptions show;
  RequestOptions request;
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
  return line.Run(argc, argv);
}

}  // namespace fedtune
