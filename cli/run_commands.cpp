// SPDX-License-Identifier: Apache-2.0

#include "cli/run_commands.h"

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "cli/run_json.h"
#include "cli/run_text.h"
#include "cli/watch.h"
#include "cli/watch_text.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// What one command was given; shared by its options and its action.
struct Arguments {
  std::string name;
  std::string reason;
};

absl::Status ListRuns(const Session& session) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::ListRunsResponse runs, connection.ListRuns());
  if (!session.json) {
    fmt::print("{}", RunTable(runs, absl::Now()));
    return absl::OkStatus();
  }
  for (const v1::RunStatus& run : runs.runs()) fmt::print("{}", JsonLine(RunToJson(run)));
  return absl::OkStatus();
}

absl::Status ShowRun(const Session& session, const std::string& run_id) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::GetRunResponse run, connection.GetRun(run_id));
  session.json ? fmt::print("{}", JsonLine(RunToJson(run)))
               : fmt::print("{}", RunDetails(run, absl::Now()));
  return absl::OkStatus();
}

absl::Status WatchRun(const Session& session, const std::string& run_id) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::GetRunResponse run, connection.GetRun(run_id));
  return Watch(connection, run.run().run_id(), session.json);
}

absl::Status StopRun(const Session& session, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.StopRun(arguments.name, arguments.reason));
  if (session.json) {
    fmt::print("{}", JsonLine(RunToJson(run)));
  } else if (run.ended_unix_ms() == 0) {
    fmt::print("{} {}\n", run.run_id(), StoppingText(run));
  } else {
    fmt::print("{}\n", EndText(run));
  }
  return absl::OkStatus();
}

// What `pause`, `resume` and `retry` have come to.
absl::Status TellRun(const Session& session, const v1::RunStatus& run) {
  session.json ? fmt::print("{}", JsonLine(RunToJson(run)))
               : fmt::print("{} {}\n", run.run_id(), PauseText(run));
  return absl::OkStatus();
}

absl::Status PauseRun(const Session& session, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.PauseRun(arguments.name, arguments.reason));
  return TellRun(session, run);
}

absl::Status ResumeRun(const Session& session, const std::string& run_id) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.ResumeRun(run_id));
  return TellRun(session, run);
}

absl::Status RetryRun(const Session& session, const std::string& run_id) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.RetryRun(run_id));
  return TellRun(session, run);
}

absl::Status ListClients(const Session& session) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::ListClientsResponse clients, connection.ListClients());
  if (!session.json) {
    fmt::print("{}", ClientTable(clients, absl::Now()));
    return absl::OkStatus();
  }
  for (const v1::ClientStatus& client : clients.clients()) {
    fmt::print("{}", JsonLine(ClientToJson(client)));
  }
  return absl::OkStatus();
}

absl::Status ShowClient(const Session& session, const std::string& institution) {
  ASSIGN_OR_RETURN(const CoordinatorConnection connection, session.Connect());
  ASSIGN_OR_RETURN(const v1::ClientStatus client, connection.GetClient(institution));
  session.json ? fmt::print("{}", JsonLine(ClientToJson(client)))
               : fmt::print("{}", ClientDetails(client, absl::Now()));
  return absl::OkStatus();
}

void AddRunName(CLI::App& command, const std::shared_ptr<Arguments>& arguments) {
  command.add_option("RUN", arguments->name, "The run's id, or the beginning of it")->required();
}

// Those that steer a run.
void AddControlCommands(CommandLine& line, CLI::App& run_group, Session& session,
                        const std::shared_ptr<Arguments>& arguments) {
  const auto add = [&](const CommandText& text, CommandLine::Action action) -> CLI::App& {
    CLI::App& command = line.AddTo(run_group, text, std::move(action));
    AddRunName(command, arguments);
    AddJsonFlag(command, session);
    return command;
  };
  CLI::App& stop = add({"stop",
                        "Ends a run; its last release can still be pulled.",
                        {"fedtune run stop run-7f3a --reason 'wrong data set at uke'"}},
                       [&session, arguments] { return StopRun(session, *arguments); });
  CLI::App& pause = add({"pause",
                         "Lets a run finish its open round and opens no other one.",
                         {"fedtune run pause run-7f3a --reason 'maintenance until Monday'"}},
                        [&session, arguments] { return PauseRun(session, *arguments); });
  for (CLI::App* command : {&stop, &pause}) {
    command->add_option("--reason", arguments->reason, "Why, for the record");
  }
  add({"resume", "Goes on with a run that is paused.", {"fedtune run resume run-7f3a"}},
      [&session, arguments] { return ResumeRun(session, arguments->name); });
  add({"retry",
       "Goes on with a run that failed or was stopped, from its last release.",
       {"fedtune run retry run-7f3a"}},
      [&session, arguments] { return RetryRun(session, arguments->name); });
}

}  // namespace

void AddRunCommands(CommandLine& line, CLI::App& run_group, Session& session) {
  const auto arguments = std::make_shared<Arguments>();
  AddJsonFlag(line.AddTo(run_group,
                         {"list",
                          "Lists all runs, the newest first.",
                          {"fedtune run list", "fedtune run list --json | head -n 1"}},
                         [&session] { return ListRuns(session); }),
              session);
  CLI::App& show = line.AddTo(run_group,
                              {"show",
                               "Shows one run with its clients and results.",
                               {"fedtune run show run-7f3a", "fedtune run show run-7 --json"}},
                              [&session, arguments] { return ShowRun(session, arguments->name); });
  AddRunName(show, arguments);
  AddJsonFlag(show, session);
  CLI::App& watch =
      line.AddTo(run_group,
                 {"watch",
                  "Watches a run until it ends; Ctrl-C stops the watching only.",
                  {"fedtune run watch run-7f3a", "fedtune run watch run-7f3a --json"}},
                 [&session, arguments] { return WatchRun(session, arguments->name); });
  AddRunName(watch, arguments);
  AddJsonFlag(watch, session);
  AddControlCommands(line, run_group, session, arguments);
}

void AddClientCommands(CommandLine& line, Session& session) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& group = line.AddGroup({"client",
                                   "The institutions of the federation.",
                                   {"fedtune client list", "fedtune client show st-anna"}});
  AddJsonFlag(line.AddTo(group,
                         {"list",
                          "Lists the clients that were ever seen.",
                          {"fedtune client list", "fedtune client list --json"}},
                         [&session] { return ListClients(session); }),
              session);
  CLI::App& show =
      line.AddTo(group,
                 {"show",
                  "Shows one client: device, records, certificate, runs.",
                  {"fedtune client show st-anna"}},
                 [&session, arguments] { return ShowClient(session, arguments->name); });
  show.add_option("INSTITUTION", arguments->name, "Its name")->required();
  AddJsonFlag(show, session);
}

}  // namespace fedtune
