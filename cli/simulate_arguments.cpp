// SPDX-License-Identifier: Apache-2.0

#include "cli/simulate_arguments.h"

#include <utility>

#include "absl/status/status.h"
#include "base/number_checks.h"
#include "fmt/format.h"

namespace fedtune {

CommandText SimulateText(std::string name, const std::string& command) {
  return {.name = std::move(name),
          .summary = "Tries a plan with virtual clients, in virtual time, on this machine.",
          .examples = {fmt::format("{} plan.toml --clients 1000", command),
                       fmt::format("{} plan.toml --clients 200 --dropout 0.1 --seed 7", command),
                       fmt::format("{} plan.toml --trainer real --data examples/icd10", command),
                       fmt::format("{} plan.toml --clients 100000 --json", command)}};
}

void AddSimulateOptions(CLI::App& command, SimulateArguments& arguments) {
  command.add_option("PLAN", arguments.plan, "The plan's file")->required();
  command
      .add_option("--clients", arguments.clients,
                  "How many institutions take part (with real training: one for each folder)")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  command.add_option("--seed", arguments.seed, "The same seed gives the same rounds")
      ->capture_default_str()
      ->check(Seed());
  command
      .add_option("--dropout", arguments.dropout,
                  "The likelihood that a client is cut off in a round")
      ->check(NumberFrom(0, 1))
      ->capture_default_str();
  command
      .add_option("--trainer", arguments.trainer,
                  "synthetic: made-up deltas; real: the base model, trained on --data")
      ->check(CLI::IsMember({"synthetic", "real"}))
      ->capture_default_str();
  command.add_option("--training-time", arguments.training,
                     "Of the typical client, a round, as in 90s (default: a quarter of the "
                     "round's deadline)");
  command.add_option("--data", arguments.data,
                     "For real training: a folder with one for each institution, with "
                     "train.jsonl and, to evaluate on, eval.jsonl in it");
  command
      .add_option("--threads", arguments.threads,
                  "For real training: how many institutions train at once, up to one for each core")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->capture_default_str();
  command.add_option("--state", arguments.state,
                     "An empty folder for the coordinator's database (default: a temporary "
                     "one, in memory where there is such a place)");
}

std::vector<std::string> ToCommandLine(const SimulateArguments& arguments) {
  std::vector<std::string> line = {arguments.plan.string(),
                                   "--seed",
                                   fmt::format("{}", arguments.seed),
                                   "--dropout",
                                   fmt::format("{}", arguments.dropout),
                                   "--trainer",
                                   arguments.trainer,
                                   "--threads",
                                   fmt::format("{}", arguments.threads)};
  const auto add = [&](std::string option, std::string value) {
    line.push_back(std::move(option));
    line.push_back(std::move(value));
  };
  if (arguments.clients) add("--clients", fmt::format("{}", *arguments.clients));
  if (arguments.training) add("--training-time", *arguments.training);
  for (const auto& folder : arguments.data) add("--data", folder.string());
  if (arguments.state) add("--state", arguments.state->string());
  return line;
}

absl::StatusOr<absl::Duration> TrainingTimeOf(const SimulateArguments& arguments,
                                              absl::Duration round_deadline) {
  if (!arguments.training) return round_deadline / 4;
  absl::Duration time;
  if (absl::ParseDuration(*arguments.training, &time) && time > absl::ZeroDuration() &&
      time < absl::InfiniteDuration()) {
    return time;
  }
  return absl::InvalidArgumentError(
      fmt::format("--training-time is \"{}\"; give a time, as in 90s or 5m", *arguments.training));
}

}  // namespace fedtune
