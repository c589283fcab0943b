// SPDX-License-Identifier: Apache-2.0

#include "cli/run_text.h"

#include <algorithm>
#include <vector>

#include "base/progress.h"
#include "base/units.h"
#include "cli/text_table.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

constexpr int kBarWidth = 20;

std::string Hex(const std::string& sha256) {
  Digest digest;
  if (sha256.size() != digest.bytes.size()) return "-";
  std::copy(sha256.begin(), sha256.end(), digest.bytes.begin());
  return digest.ToString();
}

std::string Percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string Evaluated(const v1::EvaluationSummary& evaluation) {
  std::string text = fmt::format("loss {:.3f}", evaluation.loss());
  if (evaluation.has_accuracy())
    text += fmt::format(", accuracy {}", Percent(evaluation.accuracy()));
  return text;
}

// "4/6": those who still take part of those who were invited.
std::string ClientCount(const v1::RunStatus& run) {
  const auto taking_part =
      std::count_if(run.clients().begin(), run.clients().end(), [](const v1::RunClient& client) {
        return client.state() != "declined" && client.state() != "invited";
      });
  return fmt::format("{}/{}", taking_part, run.clients_size());
}

std::string ClientLine(const v1::RunClient& client, int width) {
  std::string line = fmt::format("  {:<{}}  ", client.institution(), width);
  if (client.state() == "training" || client.state() == "evaluating") {
    line += fmt::format("{}  {:3.0f} %  {}", ProgressBar(client.fraction(), kBarWidth),
                        100 * client.fraction(), client.state());
    if (client.tokens_per_second() > 0) {
      line +=
          fmt::format("  {} tok/s", GroupDigits(static_cast<uint64_t>(client.tokens_per_second())));
    }
    return line;
  }
  if (client.state() == "done") line += fmt::format("{}  ", ProgressBar(1, kBarWidth));
  line += client.state();
  if (!client.reason().empty()) line += fmt::format(": {}", client.reason());
  return line;
}

std::string RoundHead(const v1::RunStatus& run) {
  if (run.state() == v1::RunStatus::STATE_INVITING) return "inviting clients";
  std::string head = fmt::format("round {}/{}", std::min(run.rounds_done() + 1, run.round_count()),
                                 run.round_count());
  if (run.time_left_ms() > 0) {
    head += fmt::format("   {} left", HumanDuration(absl::Milliseconds(run.time_left_ms())));
  }
  return head;
}

std::string LastRound(const v1::RunStatus& run) {
  if (!run.has_last_round()) return "";
  const v1::RoundSummary& last = run.last_round();
  return fmt::format(
      "training loss {:.3f}, {} contributions, {}", last.training_loss(), last.contributions(),
      HumanDuration(absl::Milliseconds(last.ended_unix_ms() - last.started_unix_ms())));
}

std::string Row(std::string_view label, std::string_view text) {
  return fmt::format("  {:<14}{}\n", label, text);
}

}  // namespace

std::string StateName(v1::RunStatus::State state) {
  switch (state) {
    case v1::RunStatus::STATE_INVITING:
      return "inviting";
    case v1::RunStatus::STATE_RUNNING:
      return "running";
    case v1::RunStatus::STATE_FINISHED:
      return "finished";
    case v1::RunStatus::STATE_STOPPED:
      return "stopped";
    case v1::RunStatus::STATE_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

bool HasEnded(v1::RunStatus::State state) {
  return state == v1::RunStatus::STATE_FINISHED || state == v1::RunStatus::STATE_STOPPED ||
         state == v1::RunStatus::STATE_FAILED;
}

std::string LossText(const v1::RunStatus& run) {
  if (!run.has_first_evaluation()) return "-";
  if (!run.has_last_evaluation() ||
      run.last_evaluation().round() == run.first_evaluation().round()) {
    return fmt::format("{:.3f}", run.first_evaluation().loss());
  }
  return fmt::format("{:.3f} -> {:.3f}", run.first_evaluation().loss(),
                     run.last_evaluation().loss());
}

std::string RunTable(const v1::ListRunsResponse& runs, absl::Time now) {
  if (runs.runs_size() == 0) return "no runs yet; start one: fedtune run start plan.toml\n";
  TextTable table({"RUN", "PLAN", "STATE", "ROUND", "CLIENTS", "LOSS", "STARTED"});
  for (const v1::RunStatus& run : runs.runs()) {
    table.Add({run.run_id(), run.plan_name(), StateName(run.state()),
               fmt::format("{}/{}", run.rounds_done(), run.round_count()), ClientCount(run),
               LossText(run), HumanAgo(absl::FromUnixMillis(run.started_unix_ms()), now)});
  }
  return table.ToString();
}

std::string RunDetails(const v1::GetRunResponse& response, absl::Time now) {
  const v1::RunStatus& run = response.run();
  std::string text =
      fmt::format("{}  {}  {}\n\n", run.run_id(), run.plan_name(), StateName(run.state()));
  if (!run.reason().empty()) text += Row("reason", run.reason());
  text += Row("rounds", fmt::format("{} of {}", run.rounds_done(), run.round_count()));
  text += Row("started",
              fmt::format("{} by {}", HumanAgo(absl::FromUnixMillis(run.started_unix_ms()), now),
                          run.started_by()));
  if (run.ended_unix_ms() > 0) {
    text +=
        Row("took", HumanDuration(absl::Milliseconds(run.ended_unix_ms() - run.started_unix_ms())));
  }
  text += Row("base model", fmt::format("{}, {}", run.base_model(), run.base_digest()));
  text += Row("adapter",
              fmt::format("{}, {}", Hex(run.adapter_sha256()), HumanBytes(run.adapter_bytes())));
  text +=
      Row("transfer", fmt::format("{} from the clients, {} to them",
                                  HumanBytes(run.bytes_received()), HumanBytes(run.bytes_sent())));
  if (run.has_first_evaluation()) text += Row("at first", Evaluated(run.first_evaluation()));
  if (run.has_last_evaluation()) text += Row("at last", Evaluated(run.last_evaluation()));
  if (run.has_last_round()) text += Row("last round", LastRound(run));
  TextTable clients({"CLIENT", "STATE", "ROUNDS", "RECORDS", "NOTE"});
  for (const v1::RunClient& client : run.clients()) {
    clients.Add({client.institution(), client.state(),
                 fmt::format("{}", client.rounds_contributed()),
                 GroupDigits(static_cast<uint64_t>(client.example_count())), client.reason()});
  }
  return text + "\n" + clients.ToString();
}

std::string WatchBlock(const v1::RunStatus& run) {
  std::string block = RoundHead(run) + "\n";
  if (run.has_last_round()) block += fmt::format("  last round   {}\n", LastRound(run));
  if (run.has_first_evaluation()) block += fmt::format("  evaluation   {}\n", LossText(run));
  size_t width = 0;
  for (const v1::RunClient& client : run.clients()) {
    width = std::max(width, client.institution().size());
  }
  for (const v1::RunClient& client : run.clients()) {
    block += ClientLine(client, static_cast<int>(width)) + "\n";
  }
  return block;
}

std::string WatchLine(const v1::RunStatus& run) {
  std::string line = fmt::format("{}  {}", run.run_id(), RoundHead(run));
  if (run.has_last_round()) line += fmt::format("  last: {}", LastRound(run));
  return line;
}

std::string EndText(const v1::RunStatus& run) {
  std::string text = fmt::format("{} {} after {} of {} rounds", run.run_id(),
                                 StateName(run.state()), run.rounds_done(), run.round_count());
  if (!run.reason().empty()) text += fmt::format(": {}", run.reason());
  if (run.has_last_evaluation()) {
    text += fmt::format("; {} over {} records of the clients' own validation splits",
                        Evaluated(run.last_evaluation()),
                        GroupDigits(static_cast<uint64_t>(run.last_evaluation().example_count())));
  }
  return text;
}

std::string ClientTable(const v1::ListClientsResponse& clients, absl::Time now) {
  if (clients.clients_size() == 0) return "no client has ever connected\n";
  TextTable table({"CLIENT", "STATE", "LAST SEEN", "DEVICE", "MEMORY", "RECORDS", "RUNS"});
  for (const v1::ClientStatus& client : clients.clients()) {
    std::string runs;
    for (const std::string& run : client.run_ids()) runs += (runs.empty() ? "" : " ") + run;
    table.Add({client.institution(), client.connected() ? "connected" : "offline",
               HumanAgo(absl::FromUnixMillis(client.last_seen_unix_ms()), now),
               client.device_kind(), HumanBytes(client.memory_bytes()),
               GroupDigits(static_cast<uint64_t>(client.example_count())), runs});
  }
  return table.ToString();
}

std::string ClientDetails(const v1::ClientStatus& client, absl::Time now) {
  std::string text =
      fmt::format("{}  {}\n\n", client.institution(), client.connected() ? "connected" : "offline");
  text += Row("last seen", HumanAgo(absl::FromUnixMillis(client.last_seen_unix_ms()), now));
  text += Row("version", client.client_version());
  text += Row("device",
              fmt::format("{} ({}), {} threads, {}", client.device_kind(), client.device_name(),
                          client.threads(), HumanBytes(client.memory_bytes())));
  text += Row("records", GroupDigits(static_cast<uint64_t>(client.example_count())));
  const absl::Time expires = absl::FromUnixMillis(client.certificate_expires_unix_ms());
  text += Row("certificate", fmt::format("until {}", absl::FormatTime("%Y-%m-%d %H:%M", expires,
                                                                      absl::UTCTimeZone())));
  for (const std::string& run : client.run_ids()) text += Row("run", run);
  return text;
}

std::string ModelTable(const v1::ListModelsResponse& models) {
  if (models.models_size() == 0) {
    return "no base models yet; each run adds its own to the catalogue\n";
  }
  TextTable table({"MODEL", "DIGEST"});
  for (const v1::ModelEntry& model : models.models()) table.Add({model.name(), model.digest()});
  return table.ToString();
}

}  // namespace fedtune
