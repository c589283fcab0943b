// SPDX-License-Identifier: Apache-2.0

#include "base/command_line.h"
#include "cli/log_commands.h"
#include "cli/model_commands.h"
#include "cli/plan_command.h"
#include "cli/run_commands.h"
#include "cli/session.h"
#include "cli/simulate_command.h"
#include "cli/start_command.h"

int main(int argc, char** argv) {
  fedtune::Session session;
  fedtune::CommandLine line(
      {"fedtune",
       "Starts, watches and stops runs of a federation, and pulls their models.",
       {"fedtune plan check plan.toml", "fedtune run start plan.toml --watch",
        "fedtune model pull run-7f3a --format hf --out ./model"}});
  fedtune::AddConfigurationFlags(line.root(), session.flags);
  fedtune::AddPlanCommands(line, session);
  CLI::App& run = line.AddGroup({"run",
                                 "Runs: start, list, show, watch, pause, resume, stop, retry.",
                                 {"fedtune run start plan.toml", "fedtune run list"}});
  fedtune::AddStartCommand(line, run, session);
  fedtune::AddRunCommands(line, run, session);
  fedtune::AddSimulateCommand(line, session);
  fedtune::AddClientCommands(line, session);
  fedtune::AddModelCommands(line, session);
  fedtune::AddLogCommands(line, session);
  return line.Run(argc, argv);
}
