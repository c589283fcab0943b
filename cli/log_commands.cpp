// SPDX-License-Identifier: Apache-2.0

#include "cli/log_commands.h"

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/log_file.h"
#include "cli/log_pull.h"
#include "cli/log_text.h"
#include "cli/log_verification.h"
#include "fmt/format.h"
#include "privacy/audit/log_entry.h"

namespace fedtune {
namespace {

struct LogArguments {
  LogFiles files;
  std::string run;
};

absl::Status PullInto(const Session& session, const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  ASSIGN_OR_RETURN(const CoordinatorConnection connection,
                   CoordinatorConnection::Open(configuration));
  ASSIGN_OR_RETURN(const std::string authority, ReadNamedFile(configuration.authority));
  const SystemClock clock;
  const Interrupt interrupt;
  ProgressLine progress("pulling the log", clock);
  ASSIGN_OR_RETURN(
      const PulledLog pulled,
      PullLog(
          {.file = file,
           .authority_pem = authority,
           .read =
               [&](uint64_t from, const auto& take) {
                 return connection.ReadLog(from, interrupt.token(), take);
               },
           .clock = clock,
           .wait = [&](absl::Duration time) { connection.WaitToAskAgain(time, interrupt.token()); },
           .stop = interrupt.token(),
           .progress =
               [&](double fraction, uint64_t entries) {
                 progress.Update(fraction, fmt::format("{} entries", GroupDigits(entries)));
               }}));
  const LogHead& head = pulled.checkpoint.head;
  fmt::print("{}\n", file.string());
  fmt::print(stderr,
             "complete: {} entries, {} of them new; root {}, as the coordinator has signed\n",
             GroupDigits(head.size), GroupDigits(head.size - pulled.had), head.root.ToString());
  return absl::OkStatus();
}

// Of what run an entry is, also if its event is not known here.
std::string RunOfEntry(std::string_view entry) {
  const absl::StatusOr<LogEntry> parsed = ParseLogEntry(entry);
  if (parsed.ok()) return RunOf(parsed->event);
  const absl::StatusOr<nlohmann::json> json = ParseJson(entry, "entry");
  if (!json.ok() || !json->is_object()) return "";
  const auto run = json->find("run");
  return run != json->end() && run->is_string() ? run->get<std::string>() : "";
}

absl::Status Show(const Session& session, const LogArguments& arguments) {
  ASSIGN_OR_RETURN(LogFileReader log, LogFileReader::Open(arguments.files.log));
  while (true) {
    ASSIGN_OR_RETURN(const auto entry, log.Next());
    if (!entry.has_value()) return absl::OkStatus();
    if (!arguments.run.empty() && !RunOfEntry(*entry).starts_with(arguments.run)) continue;
    fmt::print("{}\n", session.json ? LogEntryJson(*entry) : LogEntryText(*entry));
  }
}

absl::Status VerifyFile(const Session& session, const LogFiles& files) {
  ASSIGN_OR_RETURN(const std::string authority, session.ReadAuthority());
  const SystemClock clock;
  ProgressLine progress(fmt::format("reading {}", files.log.string()), clock);
  ASSIGN_OR_RETURN(const LogVerification verification,
                   VerifyLog(files, authority, [&](double share) { progress.Update(share); }));
  const std::string name = files.log.string();
  session.json ? fmt::print("{}", JsonLine(LogVerificationToJson(verification, name)))
               : fmt::print("{}", LogVerificationText(verification, name));
  return absl::OkStatus();
}

void AddPull(CommandLine& line, CLI::App& group, Session& session,
             const std::shared_ptr<LogArguments>& arguments) {
  CLI::App& pull = line.AddTo(
      group,
      {"pull",
       "Brings the coordinator's log into a file, verified; a file that is there is gone "
       "on with, if the log begins with it, and exit code 3 says that it does not.",
       {"fedtune log pull north.log"}},
      [&session, arguments] { return PullInto(session, arguments->files.log); });
  pull.add_option("FILE", arguments->files.log, "The file to write or to go on with")->required();
}

void AddShow(CommandLine& line, CLI::App& group, Session& session,
             const std::shared_ptr<LogArguments>& arguments) {
  CLI::App& show =
      line.AddTo(group,
                 {"show",
                  "Says what a pulled log has in it, unverified.",
                  {"fedtune log show north.log", "fedtune log show north.log --run run-7f3a",
                   "fedtune log show north.log --json | tail -n 1"}},
                 [&session, arguments] { return Show(session, *arguments); });
  show.add_option("FILE", arguments->files.log, "What \"fedtune log pull\" has written")
      ->required();
  show.add_option("--run", arguments->run, "Of this run alone: its id, or the beginning of it");
  AddJsonFlag(show, session);
}

void AddVerify(CommandLine& line, CLI::App& group, Session& session,
               const std::shared_ptr<LogArguments>& arguments) {
  CLI::App& verify = line.AddTo(
      group,
      {"verify",
       "Says without a coordinator whether a pulled log is whole, signed and free of "
       "contradictions, and the same that institutions have seen; exit code 3: it is not; 1: a "
       "record is of a run that had ended before the log began.",
       {"fedtune log verify north.log --authority ca.crt",
        "fedtune log verify north.log --authority ca.crt --checkpoint st-anna.json --checkpoint "
        "uke.json",
        "fedtune log verify north.log --authority ca.crt --record run-7f3a.json"}},
      [&session, arguments] { return VerifyFile(session, arguments->files); });
  verify.add_option("FILE", arguments->files.log, "What \"fedtune log pull\" has written")
      ->required();
  verify
      .add_option("--checkpoint", arguments->files.checkpoints,
                  "What an institution's client has kept of the log; may be repeated")
      ->allow_extra_args(false);
  verify
      .add_option("--record", arguments->files.records,
                  "A run's record, to compare with the log: what \"fedtune run show RUN --json\" "
                  "has printed; may be repeated")
      ->allow_extra_args(false);
  AddJsonFlag(verify, session);
}

}  // namespace

void AddLogCommands(CommandLine& line, Session& session) {
  const auto arguments = std::make_shared<LogArguments>();
  CLI::App& group = line.AddGroup(
      {"log",
       "The coordinator's audit log: what it has done, and cannot take back.",
       {"fedtune log pull north.log", "fedtune log show north.log --run run-7f3a",
        "fedtune log verify north.log --authority ca.crt --checkpoint st-anna.json"}});
  AddPull(line, group, session, arguments);
  AddShow(line, group, session, arguments);
  AddVerify(line, group, session, arguments);
}

}  // namespace fedtune
