// SPDX-License-Identifier: Apache-2.0

#include "ca/authority_program.h"

#include <cstdint>
#include <string>

#include "base/command_line.h"
#include "base/number_checks.h"
#include "ca/authority_commands.h"
#include "ca/revocation_commands.h"

namespace fedtune {
namespace {

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
               [&] { return MakeAuthority(options, clock); });
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
      [&] { return IssueCertificates(options, clock); });
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

void AddRevoke(CommandLine& line, RevokeOptions& options, const Clock& clock) {
  CLI::App& command = line.Add(
      {.name = "revoke",
       .summary = "Revokes certificates, as after a theft, and writes the list of all that are.",
       .examples = {"fedtune-ca revoke --dir ca --role client --name st-anna",
                    "fedtune-ca revoke --dir ca --certificate st-anna.crt",
                    "fedtune-ca revoke --dir ca --serial 5f2c9d8a1b3e77ab01c45d9e6fdf0a11 "
                    "--out revoked.crl"}},
      [&] { return RevokeCertificates(options, clock); });
  command.add_option("--dir", options.directory, kAuthorityFolder)->required();
  command.add_option("--certificate", options.certificate,
                     "Revoke all certificates in this file: a client's and its signer's");
  command.add_option("--serial", options.serial, "Revoke the one with this serial, and no other");
  command.add_option("--role", options.role,
                     "With --name: revoke all that a member has; client: its signer's, too");
  command.add_option("--name", options.name, "The member's name");
  command.add_option("--out", options.out,
                     "The file for the list (revoked.crl in the authority's folder)");
}

void AddRevocationList(CommandLine& line, RevocationListOptions& options, const Clock& clock) {
  CLI::App& command =
      line.Add({.name = "crl",
                .summary = "Writes the list of all certificates that are revoked; it may be empty.",
                .examples = {"fedtune-ca crl --dir ca", "fedtune-ca crl --dir ca --out revoked.crl",
                             "fedtune-ca show ca/revoked.crl"}},
               [&] { return WriteRevocationList(options, clock); });
  command.add_option("--dir", options.directory, kAuthorityFolder)->required();
  command.add_option("--out", options.out,
                     "The file for it (revoked.crl in the authority's folder)");
}

void AddList(CommandLine& line, ListOptions& options, const Clock& clock) {
  CLI::App& command = line.Add(
      {.name = "list",
       .summary = "Lists every certificate that was issued, and whether it is revoked.",
       .examples = {"fedtune-ca list --dir ca", "fedtune-ca list --dir ca --json | jq .name"}},
      [&] { return ListIssued(options, clock); });
  command.add_option("--dir", options.directory, kAuthorityFolder)->required();
  command.add_flag("--json", options.json, "One JSON object a line");
}

void AddShow(CommandLine& line, ShowOptions& options, const Clock& clock) {
  CLI::App& command =
      line.Add({.name = "show",
                .summary = "Shows what a certificate, a request or a list of revoked ones says.",
                .examples = {"fedtune-ca show request.pem", "fedtune-ca show st-anna.crt --json",
                             "fedtune-ca show ca/ca.crt", "fedtune-ca show ca/revoked.crl"}},
               [&] { return ShowFile(options, clock); });
  command
      .add_option("file", options.file, "A certificate, a request or a list of revoked ones in PEM")
      ->required();
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
               [&] { return RequestCertificate(options); });
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
  RevokeOptions revoke;
  RevocationListOptions revocation_list;
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
  AddRevoke(line, revoke, clock);
  AddRevocationList(line, revocation_list, clock);
  AddList(line, list, clock);
  AddShow(line, show, clock);
  AddRequest(line, request);
  AddRoster(line, roster_sign, roster_show, clock);
  AddFederationKey(line, federation_key);
  return line.Run(argc, argv);
}

}  // namespace fedtune
