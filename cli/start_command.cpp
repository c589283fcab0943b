// SPDX-License-Identifier: Apache-2.0

#include "cli/start_command.h"

#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/status_macros.h"
#include "cli/plan_file.h"
#include "cli/run_json.h"
#include "cli/watch.h"
#include "fmt/format.h"
#include "privacy/crypto/hex.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

struct StartArguments {
  std::filesystem::path plan;
  bool watch = false;
};

// The plan as it is sent: checked here as well, so that a mistake is explained
// before anything leaves this machine.
v1::StartRunRequest RequestOf(const PlanFile& plan) {
  v1::StartRunRequest request;
  request.set_request_id(ToHex(RandomBytes(16)));
  request.set_plan_toml(plan.text);
  request.set_base_model_json(ToJson(plan.base.description));
  return request;
}

absl::Status StartRun(const Session& session, const StartArguments& arguments) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  ASSIGN_OR_RETURN(const CoordinatorConnection connection,
                   CoordinatorConnection::Open(configuration));
  ASSIGN_OR_RETURN(const PlanFile plan, ReadPlanFile(arguments.plan, configuration, &connection));
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.StartRun(RequestOf(plan)));
  if (session.json && !arguments.watch) {
    fmt::print("{}", JsonLine(RunToJson(run)));
    return absl::OkStatus();
  }
  const std::string started =
      fmt::format("{} started: {}, {} clients invited{}", run.run_id(), run.plan_name(),
                  run.clients_size(), DrawingText(plan.plan, run.clients_size()));
  if (!arguments.watch) {
    fmt::print("{}\n", started);
    fmt::print(stderr, "watch it: fedtune run watch {}\n", run.run_id());
    return absl::OkStatus();
  }
  fmt::print(stderr, "{}\n", started);
  return Watch(connection, run.run_id(), session.json);
}

}  // namespace

void AddStartCommand(CommandLine& line, CLI::App& run_group, Session& session) {
  const auto arguments = std::make_shared<StartArguments>();
  CLI::App& start =
      line.AddTo(run_group,
                 {"start",
                  "Starts a run from a plan and returns at once.",
                  {"fedtune run start plan.toml", "fedtune run start plan.toml --watch"}},
                 [&session, arguments] { return StartRun(session, *arguments); });
  start.add_option("PLAN", arguments->plan, "The plan's file")->required();
  start.add_flag("--watch", arguments->watch, "Watch the run until it ends");
  AddJsonFlag(start, session);
}

}  // namespace fedtune
