// SPDX-License-Identifier: Apache-2.0

#include "cli/run_json.h"

#include <string>

#include "absl/time/time.h"
#include "cli/run_text.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

using Json = nlohmann::ordered_json;

Json TimeToJson(int64_t unix_ms) {
  if (unix_ms == 0) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(unix_ms),
                          absl::UTCTimeZone());
}

Json DigestToJson(const std::string& sha256) {
  const auto digest = Digest::FromBinary(sha256, "a digest");
  return digest.ok() ? Json(digest->ToString()) : Json(nullptr);
}

Json EvaluationToJson(const v1::EvaluationSummary& evaluation) {
  Json json = {{"round", evaluation.round()}, {"loss", evaluation.loss()}};
  json["accuracy"] = evaluation.has_accuracy() ? Json(evaluation.accuracy()) : Json(nullptr);
  json["examples"] = evaluation.example_count();
  return json;
}

Json RoutingToJson(const v1::RoundSummary& round) {
  Json layers = Json::array();
  for (const v1::LayerRouting& layer : round.routing()) {
    layers.push_back({{"routed_tokens", layer.routed_tokens()},
                      {"load_variation", layer.load_variation()},
                      {"idle_share", layer.idle_share()}});
    for (const int64_t tokens : layer.expert_tokens()) {
      layers.back()["expert_tokens"].push_back(tokens);
    }
  }
  return layers;
}

Json RoundToJson(const v1::RoundSummary& round) {
  Json json = {{"round", round.round() + 1},
               {"attempts", round.attempts()},
               {"contributions", round.contributions()},
               {"examples", round.example_count()},
               {"training_loss", round.training_loss()},
               {"adapter", DigestToJson(round.adapter_sha256())},
               {"started", TimeToJson(round.started_unix_ms())},
               {"ended", TimeToJson(round.ended_unix_ms())}};
  if (!round.burnt().empty()) {
    json["burnt"] = round.burnt();
    json["training_loss"] = nullptr;  // Nobody counted.
  }
  if (round.has_evaluation()) json["evaluation"] = EvaluationToJson(round.evaluation());
  if (round.routing_size() > 0) json["routing"] = RoutingToJson(round);
  return json;
}

Json RunClientToJson(const v1::RunClient& client) {
  return {{"institution", client.institution()},
          {"state", client.state()},
          {"reason", client.reason()},
          {"awaited", client.awaited()},
          {"fraction", client.fraction()},
          {"tokens_per_second", client.tokens_per_second()},
          {"rounds_contributed", client.rounds_contributed()},
          {"examples", client.example_count()},
          {"weight", client.weight()}};
}

}  // namespace

Json RunToJson(const v1::RunStatus& run) {
  Json json = {{"run_id", run.run_id()},
               {"plan", run.plan_name()},
               {"state", StateName(run.state())},
               {"reason", run.reason()},
               {"pausing", run.pausing()},
               {"rounds_done", run.rounds_done()},
               {"round_count", run.round_count()},
               {"phase", run.phase()},
               {"attempt", run.attempt()},
               {"quorum", run.quorum()},
               {"close_at", run.close_at()},
               {"invited_count", run.invited_count()},
               {"accepted_count", run.accepted_count()},
               {"time_left_ms", run.time_left_ms()},
               {"started", TimeToJson(run.started_unix_ms())},
               {"ended", TimeToJson(run.ended_unix_ms())},
               {"started_by", run.started_by()},
               {"base_model", run.base_model()},
               {"base_digest", run.base_digest()},
               {"adapter", DigestToJson(run.adapter_sha256())},
               {"adapter_bytes", run.adapter_bytes()},
               {"bytes_received", run.bytes_received()},
               {"bytes_sent", run.bytes_sent()}};
  if (run.has_last_round()) json["last_round"] = RoundToJson(run.last_round());
  if (run.has_first_evaluation())
    json["first_evaluation"] = EvaluationToJson(run.first_evaluation());
  if (run.has_last_evaluation()) json["last_evaluation"] = EvaluationToJson(run.last_evaluation());
  json["clients"] = Json::array();
  for (const v1::RunClient& client : run.clients()) {
    json["clients"].push_back(RunClientToJson(client));
  }
  return json;
}

Json RunToJson(const v1::GetRunResponse& response) {
  Json json = RunToJson(response.run());
  json["layout_digest"] = Sha256Of(response.layout_json()).ToString();
  json["plan_toml"] = response.plan_toml();
  json["rounds"] = Json::array();
  for (const v1::RoundSummary& round : response.rounds()) {
    json["rounds"].push_back(RoundToJson(round));
  }
  return json;
}

Json ClientToJson(const v1::ClientStatus& client) {
  Json json = {{"institution", client.institution()},
               {"connected", client.connected()},
               {"last_seen", TimeToJson(client.last_seen_unix_ms())},
               {"client_version", client.client_version()},
               {"device_kind", client.device_kind()},
               {"device_name", client.device_name()},
               {"memory_bytes", client.memory_bytes()},
               {"threads", client.threads()},
               {"examples", client.example_count()},
               {"certificate_expires", TimeToJson(client.certificate_expires_unix_ms())}};
  json["runs"] = Json::array();
  for (const std::string& run : client.run_ids()) json["runs"].push_back(run);
  return json;
}

Json ModelToJson(const v1::ModelEntry& model) {
  return {{"name", model.name()},
          {"digest", model.digest()},
          {"added", TimeToJson(model.added_unix_ms())}};
}

}  // namespace fedtune
