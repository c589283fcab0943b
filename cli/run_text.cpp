// SPDX-License-Identifier: Apache-2.0

#include "cli/run_text.h"

#include <algorithm>
#include <vector>

#include "base/units.h"
#include "cli/text_table.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

std::string DigestText(const std::string& sha256) {
  const auto digest = Digest::FromBinary(sha256, "a digest");
  return digest.ok() ? digest->ToString() : "-";
}

// Whatever the coordinator said, this fits.
absl::Duration Between(int64_t from_unix_ms, int64_t to_unix_ms) {
  return absl::FromUnixMillis(to_unix_ms) - absl::FromUnixMillis(from_unix_ms);
}

std::string Percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string Row(std::string_view label, std::string_view text) {
  return fmt::format("  {:<14}{}\n", label, text);
}

// Clients need not tell how many they have.
std::string RecordCount(int64_t count) {
  return count == 0 ? "-" : GroupDigits(static_cast<uint64_t>(count));
}

// Where all count the same the number says nothing of how much.
std::string RecordsOf(const v1::RunClient& client) {
  std::string text = RecordCount(client.example_count());
  if (client.weight() > 1 && client.weight() < client.example_count()) {
    text += fmt::format(" (counts for {})", RecordCount(client.weight()));
  }
  return text;
}

// How long its certificate is still valid.
std::string ValidityText(const v1::ClientStatus& client, absl::Time now) {
  const absl::Duration left = absl::FromUnixMillis(client.certificate_expires_unix_ms()) - now;
  return left > absl::ZeroDuration() ? HumanDuration(left) + " left" : "expired";
}

}  // namespace

std::string StateName(v1::RunStatus::State state) {
  switch (state) {
    case v1::RunStatus::STATE_INVITING:
      return "inviting";
    case v1::RunStatus::STATE_RUNNING:
      return "running";
    case v1::RunStatus::STATE_PAUSED:
      return "paused";
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

std::string WaitText(const v1::RunStatus& run) {
  const bool goes_on = run.state() == v1::RunStatus::STATE_INVITING ||
                       (run.state() == v1::RunStatus::STATE_RUNNING && !run.pausing());
  if (!goes_on || run.reason().empty()) return "";
  return fmt::format("the coordinator waits: {}", run.reason());
}

std::string PauseText(const v1::RunStatus& run) {
  const std::string why = run.reason().empty() ? "" : ": " + run.reason();
  if (run.state() == v1::RunStatus::STATE_PAUSED) {
    return fmt::format("paused after {} of {} rounds{}", run.rounds_done(), run.round_count(), why);
  }
  if (run.pausing()) {
    return fmt::format("pauses when round {} of {} is over{}", run.rounds_done() + 1,
                       run.round_count(), why);
  }
  return fmt::format("goes on, {} of {} rounds are done", run.rounds_done(), run.round_count());
}

std::string StoppingText(const v1::RunStatus& run) {
  return fmt::format("stops when the release of round {} of {} is stored", run.rounds_done() + 1,
                     run.round_count());
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

std::string EvaluationText(const v1::EvaluationSummary& evaluation) {
  std::string text = fmt::format("loss {:.3f}", evaluation.loss());
  if (evaluation.has_accuracy())
    text += fmt::format(", accuracy {} among each client's own answers",
                        Percent(evaluation.accuracy()));
  return text;
}

std::string LastEvaluationText(const v1::RunStatus& run) {
  const v1::EvaluationSummary& last = run.last_evaluation();
  const std::string text = EvaluationText(last);
  if (last.round() >= run.rounds_done()) return text;
  return fmt::format("after {} of the rounds {}", last.round(), text);
}

std::string LastRoundText(const v1::RunStatus& run) {
  const v1::RoundSummary& last = run.last_round();
  if (!last.burnt().empty()) return "burnt, and left the adapter as it was: " + last.burnt();
  return fmt::format("training loss {:.3f}, {} contributions, {}", last.training_loss(),
                     last.contributions(),
                     HumanDuration(Between(last.started_unix_ms(), last.ended_unix_ms())));
}

std::string BurntText(const v1::GetRunResponse& response) {
  int64_t burnt = 0;
  std::string newest;
  for (const v1::RoundSummary& round : response.rounds()) {
    if (round.burnt().empty()) continue;
    ++burnt;
    newest = fmt::format("round {}: {}", round.round() + 1, round.burnt());
  }
  if (burnt == 0) return "";
  return fmt::format("{} of {} rounds left the adapter as it was; the newest of them {}", burnt,
                     response.run().rounds_done(), newest);
}

std::string LargestShareText(const v1::RunStatus& run) {
  constexpr double kMostOfAll = 0.9;
  if (run.state() == v1::RunStatus::STATE_INVITING) return "";
  double total = 0;
  int64_t weighed = 0;
  const v1::RunClient* largest = nullptr;
  for (const v1::RunClient& client : run.clients()) {
    if (client.weight() <= 0) continue;
    ++weighed;
    total += static_cast<double>(client.weight());
    if (largest == nullptr || client.weight() > largest->weight()) largest = &client;
  }
  if (weighed < 2 || static_cast<double>(largest->weight()) <= kMostOfAll * total) return "";
  return fmt::format(
      "{} makes up {} of a mean over all of them, by the {} records that it says it has; "
      "max_weight in [aggregation] of a plan is a bound on that",
      largest->institution(), Percent(static_cast<double>(largest->weight()) / total),
      RecordCount(largest->example_count()));
}

std::string RoutingText(const v1::RoundSummary& round) {
  if (round.routing_size() == 0) return "";
  double least = round.routing(0).load_variation();
  double most = least;
  double idle = 0;
  for (const v1::LayerRouting& layer : round.routing()) {
    least = std::min(least, layer.load_variation());
    most = std::max(most, layer.load_variation());
    idle += layer.idle_share();
  }
  return fmt::format(
      "load varies by {:.2f} to {:.2f} between the experts of {} layers (deviation "
      "over mean); {} had no token",
      least, most, round.routing_size(), Percent(idle / round.routing_size()));
}

std::string RunTable(const v1::ListRunsResponse& runs, absl::Time now) {
  if (runs.runs_size() == 0) return "no runs yet; start one: fedtune run start plan.toml\n";
  TextTable table({"RUN", "PLAN", "STATE", "ROUND", "CLIENTS", "LOSS", "STARTED"});
  for (const v1::RunStatus& run : runs.runs()) {
    table.Add({run.run_id(), run.plan_name(), run.pausing() ? "pausing" : StateName(run.state()),
               fmt::format("{}/{}", run.rounds_done(), run.round_count()),
               fmt::format("{}/{}", run.accepted_count(), run.invited_count()), LossText(run),
               HumanAgo(absl::FromUnixMillis(run.started_unix_ms()), now)});
  }
  return table.ToString();
}

std::string RunDetails(const v1::GetRunResponse& response, absl::Time now) {
  const v1::RunStatus& run = response.run();
  std::string text = fmt::format("{}  {}  {}\n\n", run.run_id(), run.plan_name(),
                                 run.pausing() ? "pausing" : StateName(run.state()));
  const bool waits = !WaitText(run).empty();
  if (!run.reason().empty()) text += Row(waits ? "waits" : "reason", run.reason());
  text += Row("rounds", fmt::format("{} of {}", run.rounds_done(), run.round_count()));
  text += Row("started",
              fmt::format("{} by {}", HumanAgo(absl::FromUnixMillis(run.started_unix_ms()), now),
                          run.started_by()));
  if (run.ended_unix_ms() > 0) {
    text += Row("took", HumanDuration(Between(run.started_unix_ms(), run.ended_unix_ms())));
  }
  text += Row("base model", fmt::format("{}, {}", run.base_model(), run.base_digest()));
  text += Row("adapter", fmt::format("{}, {}", DigestText(run.adapter_sha256()),
                                     HumanBytes(run.adapter_bytes())));
  text +=
      Row("transfer", fmt::format("{} from the clients, {} to them",
                                  HumanBytes(run.bytes_received()), HumanBytes(run.bytes_sent())));
  if (run.has_first_evaluation()) text += Row("at first", EvaluationText(run.first_evaluation()));
  if (run.has_last_evaluation()) text += Row("at last", LastEvaluationText(run));
  if (run.has_last_round()) text += Row("last round", LastRoundText(run));
  if (const std::string burnt = BurntText(response); !burnt.empty()) text += Row("burnt", burnt);
  if (run.last_round().routing_size() > 0) text += Row("routing", RoutingText(run.last_round()));
  if (const std::string most = LargestShareText(run); !most.empty()) text += Row("weights", most);
  TextTable clients({"CLIENT", "STATE", "ROUNDS", "RECORDS", "NOTE"});
  for (const v1::RunClient& client : run.clients()) {
    clients.Add({client.institution(), client.state(),
                 fmt::format("{}", client.rounds_contributed()), RecordsOf(client),
                 client.reason()});
  }
  return text + "\n" + clients.ToString();
}

std::string ClientTable(const v1::ListClientsResponse& clients, absl::Time now) {
  if (clients.clients_size() == 0) return "no client has ever connected\n";
  TextTable table(
      {"CLIENT", "STATE", "LAST SEEN", "DEVICE", "MEMORY", "RECORDS", "CERTIFICATE", "RUNS"});
  for (const v1::ClientStatus& client : clients.clients()) {
    std::string runs;
    for (const std::string& run : client.run_ids()) runs += (runs.empty() ? "" : " ") + run;
    table.Add({client.institution(), client.connected() ? "connected" : "offline",
               HumanAgo(absl::FromUnixMillis(client.last_seen_unix_ms()), now),
               client.device_kind(), HumanBytes(client.memory_bytes()),
               RecordCount(client.example_count()), ValidityText(client, now), runs});
  }
  return table.ToString();
}

std::string ClientDetails(const v1::ClientStatus& client, absl::Time now) {
  std::string text =
      fmt::format("{}  {}\n\n", client.institution(), client.connected() ? "connected" : "offline");
  text += Row("last seen", HumanAgo(absl::FromUnixMillis(client.last_seen_unix_ms()), now));
  text += Row("version", client.client_version());
  text += Row(
      "device",
      fmt::format("{}{}, {} thread{}, {}", client.device_kind(),
                  client.device_name().empty() ? "" : fmt::format(" ({})", client.device_name()),
                  client.threads(), client.threads() == 1 ? "" : "s",
                  HumanBytes(client.memory_bytes())));
  text += Row("records", client.example_count() == 0
                             ? "not told"
                             : GroupDigits(static_cast<uint64_t>(client.example_count())));
  const absl::Time expires = absl::FromUnixMillis(client.certificate_expires_unix_ms());
  text += Row(
      "certificate",
      fmt::format("until {} ({})", absl::FormatTime("%Y-%m-%d %H:%M", expires, absl::UTCTimeZone()),
                  ValidityText(client, now)));
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
