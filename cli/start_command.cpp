// SPDX-License-Identifier: Apache-2.0

#include "cli/start_command.h"

#include <filesystem>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/status_macros.h"
#include "cli/base_model_source.h"
#include "cli/run_json.h"
#include "cli/watch.h"
#include "fmt/format.h"
#include "plan/adapter_targets.h"
#include "plan/plan.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

struct StartArguments {
  std::filesystem::path plan;
  bool watch = false;
};

std::string NewRequestId() {
  std::string id;
  for (const uint8_t byte : RandomBytes(16)) id += fmt::format("{:02x}", byte);
  return id;
}

// The plan as it is sent: checked here as well, so that a mistake is explained
// before anything leaves this machine.
absl::StatusOr<v1::StartRunRequest> MakeRequest(const StartArguments& arguments,
                                                const Configuration& configuration,
                                                const CoordinatorConnection& connection) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.plan));
  ASSIGN_OR_RETURN(const Plan plan, ParsePlan(text, arguments.plan.string()));
  ASSIGN_OR_RETURN(const BaseModelSource base,
                   FindBaseModel(plan, arguments.plan.parent_path(), configuration, &connection));
  RETURN_IF_ERROR(ResolveTargets(base.description, plan.adapter).status());
  v1::StartRunRequest request;
  request.set_request_id(NewRequestId());
  request.set_plan_toml(text);
  request.set_base_model_json(ToJson(base.description));
  return request;
}

absl::Status StartRun(const Session& session, const StartArguments& arguments) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  ASSIGN_OR_RETURN(const CoordinatorConnection connection,
                   CoordinatorConnection::Open(configuration));
  ASSIGN_OR_RETURN(const v1::StartRunRequest request,
                   MakeRequest(arguments, configuration, connection));
  ASSIGN_OR_RETURN(const v1::RunStatus run, connection.StartRun(request));
  if (session.json && !arguments.watch) {
    fmt::print("{}\n", RunToJson(run).dump());
    return absl::OkStatus();
  }
  const std::string started = fmt::format("{} started: {}, {} clients invited", run.run_id(),
                                          run.plan_name(), run.clients_size());
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
