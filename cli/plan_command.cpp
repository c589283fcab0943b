// SPDX-License-Identifier: Apache-2.0

#include "cli/plan_command.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "cli/plan_file.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "nlohmann/json.hpp"
#include "plan/cost.h"
#include "plan/plan.h"

namespace fedtune {
namespace {

// Of one core, in products and sums a second: what the estimate of time
// assumes when nothing has been measured.
constexpr double kAssumedRate = 30e9;

// All that is known of a plan before it runs.
struct CheckedPlan {
  Plan plan;
  BaseModelDescription model;
  AdapterLayout layout;
  PlanCost cost;
  PlanCost cost_recomputed;                        // With all layers recomputed.
  std::optional<v1::ListClientsResponse> clients;  // Absent: no coordinator has told.
  absl::Status asked;                              // Why the one that was asked has not.

  // Forward and backward through frozen weights take four operations for each
  // parameter that a token meets; experts that it does not meet cost nothing.
  double SecondsARound() const {
    double met = static_cast<double>(model.parameter_count);
    if (model.routed_expert_count > 0) {
      for (const LinearLayer& layer : model.linear_layers) {
        if (layer.kind != LayerKind::kRoutedExpert) continue;
        met -= static_cast<double>(layer.in_features * layer.out_features) *
               (1 - static_cast<double>(model.experts_per_token) /
                        static_cast<double>(model.routed_expert_count));
      }
    }
    const double tokens = static_cast<double>(plan.training.steps * plan.training.batch_size *
                                              plan.training.sequence_length);
    return 4 * met * tokens / kAssumedRate;
  }

  int64_t connected() const {
    int64_t count = 0;
    for (const v1::ClientStatus& client : clients->clients()) count += client.connected() ? 1 : 0;
    return count;
  }
};

absl::StatusOr<CheckedPlan> Examine(const Session& session, const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const Configuration configuration, session.Configure());
  // Its own mistakes first: they are told without a coordinator.
  RETURN_IF_ERROR(ParsePlanFile(file).status());
  std::optional<CoordinatorConnection> connection;
  if (!configuration.coordinator.empty()) {
    ASSIGN_OR_RETURN(connection, CoordinatorConnection::Open(configuration));
  }
  CheckedPlan check;
  ASSIGN_OR_RETURN(PlanFile read,
                   ReadPlanFile(file, configuration, connection ? &*connection : nullptr));
  check.plan = std::move(read.plan);
  check.model = std::move(read.base.description);
  check.layout = std::move(read.layout);
  check.cost = EstimateCost(check.plan, check.model, check.layout, ComputeType::kFp32);
  check.cost_recomputed = EstimateCost(check.plan, check.model, check.layout, ComputeType::kFp32,
                                       check.model.layer_count);
  if (!connection) return check;
  absl::StatusOr<v1::ListClientsResponse> clients = connection->ListClients();
  check.asked = clients.status();
  if (clients.ok()) check.clients = *std::move(clients);
  return check;
}

std::string Row(std::string_view label, std::string_view text) {
  return fmt::format("  {:<16}{}\n", label, text);
}

std::string Bytes(double bytes) { return HumanBytes(static_cast<uint64_t>(bytes)); }

std::string TimeText(const CheckedPlan& check) {
  if (check.plan.training.steps == 0) return "depends on each client's records (epochs)";
  return fmt::format(
      "at most {} a round of training on one core ({:.0f} G operations/s assumed, full sequences)",
      HumanDuration(absl::Seconds(check.SecondsARound())), kAssumedRate / 1e9);
}

std::string ClosingText(const RoundsPlan& rounds) {
  if (rounds.asynchronous) {
    return fmt::format("; asynchronous: an adapter after every {} contributions", rounds.close_at);
  }
  return rounds.close_at == 0
             ? ""
             : fmt::format("; a round closes with {} contributions", rounds.close_at);
}

std::string ClientsText(const CheckedPlan& check) {
  if (!check.asked.ok()) return "unknown: the coordinator has not told";
  if (!check.clients) return "unknown: no coordinator is configured";
  return fmt::format("{} known, {} connected, quorum {}{}{}", check.clients->clients_size(),
                     check.connected(), check.plan.rounds.quorum, ClosingText(check.plan.rounds),
                     DrawingText(check.plan, check.clients->clients_size()));
}

std::string AggregationText(const Plan& plan, const PlanCost& cost) {
  if (plan.aggregation.mode == AggregationMode::kPlain) {
    return "plain: the coordinator sees each contribution";
  }
  const std::string routing =
      cost.routing_upload_bytes_a_round == 0
          ? ""
          : fmt::format(" (with {} of token counts by routed expert)",
                        HumanBytes(static_cast<uint64_t>(cost.routing_upload_bytes_a_round)));
  return fmt::format(
      "secure: only sums of {} clients and more are seen; {} bits a value, {} up{} and {} down of "
      "the transfer are the protocol's, with {} clients, the most that a round asks",
      std::min(plan.rounds.quorum, plan.secure.min_cohort), static_cast<int>(plan.secure.ring),
      HumanBytes(static_cast<uint64_t>(cost.secure_upload_bytes_a_round)), routing,
      HumanBytes(static_cast<uint64_t>(cost.secure_download_bytes_a_round)),
      plan.secure.max_cohort);
}

// "21 layers of rank 16, 96 of rank 2, alpha/sqrt(rank), 5 % dropped".
std::string AdapterText(const AdapterPlan& adapter, const AdapterLayout& layout) {
  std::map<int64_t, int64_t, std::greater<>> layers_by_rank;
  for (const AdapterModule& module : layout.modules()) ++layers_by_rank[module.lora_rank];
  std::vector<std::string> parts;
  for (const auto& [rank, layers] : layers_by_rank) {
    parts.push_back(fmt::format("{} layers of rank {}", layers, rank));
  }
  if (adapter.rslora) parts.emplace_back("scaled with alpha / sqrt(rank)");
  if (adapter.dropout > 0) parts.push_back(fmt::format("dropout {}", adapter.dropout));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string Describe(const CheckedPlan& check) {
  const Plan& plan = check.plan;
  const PlanCost& cost = check.cost;
  std::string text = fmt::format("{}: {} rounds of {} aggregation\n\n", plan.name,
                                 plan.rounds.count, ToString(plan.aggregation.method));
  text +=
      Row("base model", fmt::format("{}, {} parameters, {}", check.model.name,
                                    HumanCount(static_cast<uint64_t>(check.model.parameter_count)),
                                    check.model.digest));
  text += Row("trained", fmt::format("{} parameters ({:.3f} % of the base), {} a round",
                                     HumanCount(static_cast<uint64_t>(cost.trained_parameters)),
                                     100 * cost.share_of_base,
                                     HumanCount(static_cast<uint64_t>(cost.parameters_a_round))));
  text += Row("adapter", AdapterText(plan.adapter, check.layout));
  text +=
      Row("transfer", fmt::format("{} up and {} down per client and round; {} per client in all",
                                  Bytes(cost.upload_bytes_a_round),
                                  HumanBytes(static_cast<uint64_t>(cost.download_bytes_a_round)),
                                  HumanBytes(static_cast<uint64_t>(cost.transfer_bytes))));
  text += Row("aggregation", AggregationText(plan, cost));
  text += Row("client memory",
              fmt::format("{} in fp32 (program {}, weights {}, adapter {}, activations {}); {} if "
                          "activations are recomputed",
                          HumanBytes(static_cast<uint64_t>(cost.memory_bytes())),
                          HumanBytes(static_cast<uint64_t>(cost.program_bytes)),
                          HumanBytes(static_cast<uint64_t>(cost.weight_bytes)),
                          HumanBytes(static_cast<uint64_t>(cost.adapter_bytes)),
                          HumanBytes(static_cast<uint64_t>(cost.activation_bytes)),
                          Bytes(static_cast<double>(check.cost_recomputed.memory_bytes()))));
  text += Row("time", TimeText(check));
  return text + Row("clients", ClientsText(check));
}

nlohmann::ordered_json ToJson(const CheckedPlan& check) {
  const PlanCost& cost = check.cost;
  nlohmann::ordered_json json = {
      {"plan", check.plan.name},
      {"rounds", check.plan.rounds.count},
      {"method", ToString(check.plan.aggregation.method)},
      {"mode", ToString(check.plan.aggregation.mode)},
      {"base_model", check.model.name},
      {"base_digest", check.model.digest},
      {"base_parameters", check.model.parameter_count},
      {"trained_parameters", cost.trained_parameters},
      {"adapted_layers", check.layout.modules().size()},
      {"share_of_base", cost.share_of_base},
      {"upload_bytes_a_round", cost.upload_bytes_a_round},
      {"download_bytes_a_round", cost.download_bytes_a_round},
      {"secure_upload_bytes_a_round", cost.secure_upload_bytes_a_round},
      {"secure_download_bytes_a_round", cost.secure_download_bytes_a_round},
      {"routing_upload_bytes_a_round", cost.routing_upload_bytes_a_round},
      {"transfer_bytes", cost.transfer_bytes},
      {"client_memory_bytes", cost.memory_bytes()},
      {"client_memory_bytes_recomputed", check.cost_recomputed.memory_bytes()},
      {"quorum", check.plan.rounds.quorum},
      {"close_at", check.plan.rounds.close_at},
      {"asynchronous", check.plan.rounds.asynchronous},
      {"stragglers", check.plan.rounds.stragglers == Stragglers::kKeep ? "keep" : "drop"}};
  if (check.plan.training.steps > 0) json["seconds_a_round"] = check.SecondsARound();
  if (check.clients) json["connected"] = check.connected();
  return json;
}

absl::Status CheckPlan(const Session& session, const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const CheckedPlan check, Examine(session, file));
  session.json ? fmt::print("{}", JsonLine(ToJson(check))) : fmt::print("{}", Describe(check));
  if (check.clients && check.connected() < check.plan.rounds.quorum) {
    fmt::print(stderr, "\nwarning: {} clients are connected, and the quorum is {}\n",
               check.connected(), check.plan.rounds.quorum);
  }
  return check.asked;
}

}  // namespace

void AddPlanCommands(CommandLine& line, Session& session) {
  const auto file = std::make_shared<std::filesystem::path>();
  CLI::App& group =
      line.AddGroup({"plan", "Plans: what defines a run.", {"fedtune plan check plan.toml"}});
  CLI::App& check =
      line.AddTo(group,
                 {"check",
                  "Says what is wrong with a plan, or what its run will cost.",
                  {"fedtune plan check plan.toml", "fedtune plan check plan.toml --json"}},
                 [&session, file] { return CheckPlan(session, *file); });
  check.add_option("PLAN", *file, "The plan's file")->required();
  AddJsonFlag(check, session);
}

}  // namespace fedtune
