// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/command_line.h"
#include "base/exhaustion.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/usable_cores.h"
#include "cli/plan_file.h"
#include "cli/session.h"
#include "cli/simulate_arguments.h"
#include "client/training/brief_spinning.h"
#include "client/training/device.h"
#include "client/training/tensor_memory.h"
#include "client/training/torch_trainer.h"
#include "fmt/format.h"
#include "simulation/real_sites.h"
#include "simulation/report.h"
#include "simulation/simulation.h"
#include "simulation/state_folder.h"

namespace fedtune::simulation {
namespace {

absl::StatusOr<SimulatedPlan> ReadPlan(const Session& session, const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  ASSIGN_OR_RETURN(PlanFile read, ReadPlanFile(file, configuration, nullptr));
  return SimulatedPlan{.toml = std::move(read.text),
                       .plan = std::move(read.plan),
                       .base_model = std::move(read.base.description),
                       .base_folder = read.base.directory.value_or(std::filesystem::path()),
                       .layout = std::move(read.layout)};
}

absl::StatusOr<RealTraining> TrainingOf(const SimulateArguments& arguments) {
  RealTraining real;
  if (arguments.trainer != "real") {
    if (arguments.clients) return real;
    return absl::InvalidArgumentError("--clients says how many there are; give it a number");
  }
  ASSIGN_OR_RETURN(real.sites, FindRealSites(arguments.data, arguments.clients));
  ASSIGN_OR_RETURN(const ComputeDevice device, ChooseDevice("cpu"));
  real.threads = static_cast<int>(std::min<int64_t>(arguments.threads, UsableCores()));
  if (real.threads < arguments.threads) {
    fmt::print(stderr, "warning: {} institutions train at once, one on each core, and not {}\n",
               real.threads, arguments.threads);
  }
  // Each training has one thread: only then its bytes are always the same.
  real.open_trainer = [device](const std::filesystem::path& base_model) {
    return OpenTorchTrainer({.model_directory = base_model, .device = device, .threads = 1});
  };
  return real;
}

absl::Status SimulatePlan(const Session& session, const SimulateArguments& arguments) {
  ASSIGN_OR_RETURN(const SimulatedPlan plan, ReadPlan(session, arguments.plan));
  ASSIGN_OR_RETURN(const RealTraining real, TrainingOf(arguments));
  ASSIGN_OR_RETURN(const absl::Duration training,
                   TrainingTimeOf(arguments, plan.plan.rounds.deadline));
  ASSIGN_OR_RETURN(const StateFolder state, StateFolder::Make(arguments.state));
  AllowManyFiles();
  if (!session.json) fmt::print("{}", TableHead());
  const auto tell = [&](const RoundReport& round) {
    fmt::print("{}", session.json ? JsonLine(round) : TableLine(round));
    std::fflush(stdout);
  };
  ASSIGN_OR_RETURN(const SimulationReport report,
                   Simulate(plan,
                            {.clients = arguments.clients.value_or(0),
                             .seed = arguments.seed,
                             .dropout = arguments.dropout,
                             .training = training,
                             .state = state.path()},
                            real, tell));
  fmt::print("{}", session.json ? JsonFoot(plan, report) : TableFoot(plan, report));
  if (report.state == "finished") return absl::OkStatus();
  return WithExitCode(
      absl::AbortedError(fmt::format("the run {}: {}", report.state, report.reason)),
      ExitCode::kEndedWithoutItsGoal);
}

}  // namespace
}  // namespace fedtune::simulation

int main(int argc, char** argv) {
  fedtune::SpinBriefly(argv);
  fedtune::KeepTensorsTogether();
  fedtune::Session session;
  fedtune::SimulateArguments arguments;
  fedtune::CommandLine line(fedtune::SimulateText("fedtune-simulate", "fedtune simulate"));
  line.SetAction([&] { return fedtune::simulation::SimulatePlan(session, arguments); });
  fedtune::AddConfigurationFlags(line.root(), session.flags);
  fedtune::AddSimulateOptions(line.root(), arguments);
  fedtune::AddJsonFlag(line.root(), session);
  return line.Run(argc, argv);
}
