// SPDX-License-Identifier: Apache-2.0

#include "simulation/report.h"

#include "base/json.h"
#include "base/units.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "plan/cost.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune::simulation {
namespace {

using Json = nlohmann::ordered_json;

std::string Bytes(double bytes) { return HumanBytes(static_cast<uint64_t>(bytes)); }

PlanCost CostOf(const SimulatedPlan& plan, AggregationMode mode) {
  Plan other = plan.plan;
  other.aggregation.mode = mode;
  if (other.secure.max_cohort == 0) other.secure.max_cohort = kLargestCompleteGraph;
  return EstimateCost(other, plan.base_model, plan.layout, ComputeType::kFp32);
}

double Milliseconds(absl::Duration time) { return absl::ToDoubleMilliseconds(time); }

}  // namespace

EstimatedTransfer EstimateTransfer(const SimulatedPlan& plan) {
  const PlanCost plain = CostOf(plan, AggregationMode::kPlain);
  const PlanCost secure = CostOf(plan, AggregationMode::kSecure);
  return {.plain_up = plain.upload_bytes_a_round,
          .plain_down = static_cast<double>(plain.download_bytes_a_round),
          .secure_up = secure.upload_bytes_a_round,
          .secure_down = static_cast<double>(secure.download_bytes_a_round)};
}

std::string TableHead() {
  return fmt::format("{:>5} {:>8} {:>14} {:>9} {:>11} {:>10} {:>10} {:>10}\n", "round", "cohort",
                     "contributions", "drop-outs", "time", "up/client", "down/client", "loss");
}

std::string TableLine(const RoundReport& round) {
  const std::string number = round.attempt == 1
                                 ? fmt::format("{}", round.round + 1)
                                 : fmt::format("{}*{}", round.round + 1, round.attempt);
  const std::string loss =
      round.burnt.empty() ? fmt::format("{:.3g}", round.training_loss) : std::string("-");
  std::string line = fmt::format("{:>5} {:>8} {:>14} {:>9} {:>11} {:>10} {:>10} {:>10}\n", number,
                                 round.cohort, round.contributions,
                                 round.cohort - round.contributions, HumanDuration(round.duration),
                                 Bytes(round.bytes_up), Bytes(round.bytes_down), loss);
  if (!round.burnt.empty()) line += fmt::format("      burnt: {}\n", round.burnt);
  return line;
}

std::string TableFoot(const SimulatedPlan& plan, const SimulationReport& report) {
  const EstimatedTransfer estimate = EstimateTransfer(plan);
  std::string text = fmt::format(
      "\nrun {}, {} rounds in {} (virtual), {} on this machine\n", report.state,
      report.rounds.size(), HumanDuration(report.virtual_time), HumanDuration(report.wall_time));
  text += fmt::format(
      "coordinator: {} transitions, median {:.3f} ms, 99 % within {:.3f} ms, longest {:.1f} ms; "
      "longest release {:.1f} ms\n",
      report.transitions, Milliseconds(report.transition_median),
      Milliseconds(report.transition_p99), Milliseconds(report.transition_max),
      Milliseconds(report.release_max));
  text += fmt::format("memory: {} a client, of coordinator and clients together\n",
                      Bytes(report.bytes_per_client));
  text += fmt::format(
      "transfer of a client and round, estimated: plain {} up, {} down; secure {} up, {} down\n",
      Bytes(estimate.plain_up), Bytes(estimate.plain_down), Bytes(estimate.secure_up),
      Bytes(estimate.secure_down));
  if (report.rounds.empty()) return text;
  return text + fmt::format("adapter: {}\n", report.rounds.back().adapter.ToString());
}

std::string JsonLine(const RoundReport& round) {
  Json line{{"round", round.round + 1},
            {"attempt", round.attempt},
            {"cohort", round.cohort},
            {"contributions", round.contributions},
            {"drop_outs", round.cohort - round.contributions},
            {"virtual_seconds", absl::ToDoubleSeconds(round.duration)},
            {"bytes_up_per_client", round.bytes_up},
            {"bytes_down_per_client", round.bytes_down},
            {"training_loss", round.burnt.empty() ? Json(round.training_loss) : Json()},
            {"adapter", round.adapter.ToString()}};
  if (!round.burnt.empty()) line["burnt"] = round.burnt;
  return fedtune::JsonLine(line);
}

std::string JsonFoot(const SimulatedPlan& plan, const SimulationReport& report) {
  const EstimatedTransfer estimate = EstimateTransfer(plan);
  return fedtune::JsonLine({{"state", report.state},
                            {"reason", report.reason},
                            {"rounds", report.rounds.size()},
                            {"virtual_seconds", absl::ToDoubleSeconds(report.virtual_time)},
                            {"wall_seconds", absl::ToDoubleSeconds(report.wall_time)},
                            {"transitions", report.transitions},
                            {"transition_median_ms", Milliseconds(report.transition_median)},
                            {"transition_p99_ms", Milliseconds(report.transition_p99)},
                            {"transition_max_ms", Milliseconds(report.transition_max)},
                            {"release_max_ms", Milliseconds(report.release_max)},
                            {"memory_bytes_per_client", report.bytes_per_client},
                            {"estimated_plain_bytes_up", estimate.plain_up},
                            {"estimated_plain_bytes_down", estimate.plain_down},
                            {"estimated_secure_bytes_up", estimate.secure_up},
                            {"estimated_secure_bytes_down", estimate.secure_down}});
}

}  // namespace fedtune::simulation
