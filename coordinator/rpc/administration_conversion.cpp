// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/administration_conversion.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "coordinator/rounds/expert_load.h"
#include "coordinator/rpc/training_conversion.h"

namespace fedtune {
namespace {

v1::RunStatus::State ToMessage(RunState state) {
  switch (state) {
    case RunState::kInviting:
      return v1::RunStatus::STATE_INVITING;
    case RunState::kRunning:
      return v1::RunStatus::STATE_RUNNING;
    case RunState::kPaused:
      return v1::RunStatus::STATE_PAUSED;
    case RunState::kFinished:
      return v1::RunStatus::STATE_FINISHED;
    case RunState::kStopped:
      return v1::RunStatus::STATE_STOPPED;
    case RunState::kFailed:
      return v1::RunStatus::STATE_FAILED;
  }
  return v1::RunStatus::STATE_UNSPECIFIED;
}

v1::EvaluationSummary ToMessage(const EvaluationSummary& evaluation) {
  v1::EvaluationSummary message;
  message.set_round(evaluation.round);
  message.set_loss(evaluation.loss);
  if (evaluation.accuracy.has_value()) message.set_accuracy(*evaluation.accuracy);
  message.set_example_count(evaluation.example_count);
  return message;
}

v1::RunClient ToMessage(const ClientView& client) {
  v1::RunClient message;
  message.set_institution(client.institution.value);
  message.set_state(std::string(ToString(client.state)));
  message.set_reason(client.reason);
  message.set_fraction(client.fraction);
  message.set_tokens_per_second(client.tokens_per_second);
  message.set_rounds_contributed(client.rounds_contributed);
  message.set_example_count(client.example_count);
  message.set_awaited(client.awaited);
  message.set_weight(client.weight);
  return message;
}

void FillRecord(const RunRecord& record, v1::RunStatus& message) {
  message.set_run_id(record.id.value);
  message.set_plan_name(record.plan_name);
  message.set_started_unix_ms(absl::ToUnixMillis(record.started_at));
  if (record.ended_at.has_value()) {
    message.set_ended_unix_ms(absl::ToUnixMillis(*record.ended_at));
  }
  message.set_adapter_sha256(record.adapter.ToBinary());
  message.set_adapter_bytes(record.adapter_bytes);
  message.set_base_model(record.base_model);
  message.set_base_digest(record.base_digest);
  message.set_started_by(record.started_by);
  message.set_bytes_received(record.traffic.bytes_received);
  message.set_bytes_sent(record.traffic.bytes_sent);
}

void FillView(const RunView& view, v1::RunStatus& message) {
  message.set_state(ToMessage(view.state));
  message.set_reason(view.reason);
  message.set_pausing(view.pausing);
  message.set_rounds_done(view.rounds_done);
  message.set_round_count(view.round_count);
  message.set_phase(std::string(ToString(view.phase)));
  message.set_attempt(view.attempt);
  message.set_quorum(view.quorum);
  message.set_close_at(view.close_at);
  message.set_round_deadline_ms(absl::ToInt64Milliseconds(view.round_deadline));
  message.set_invited_count(std::ssize(view.clients));
  message.set_accepted_count(
      std::count_if(view.clients.begin(), view.clients.end(),
                    [](const ClientView& client) { return client.accepted; }));
  for (const ClientView& client : view.clients) *message.add_clients() = ToMessage(client);
  if (view.first_evaluation.has_value()) {
    *message.mutable_first_evaluation() = ToMessage(*view.first_evaluation);
  }
  if (view.last_evaluation.has_value()) {
    *message.mutable_last_evaluation() = ToMessage(*view.last_evaluation);
  }
}

}  // namespace

v1::RunStatus ToMessage(const RunOverview& run) {
  v1::RunStatus message;
  FillRecord(run.record, message);
  FillView(run.view, message);
  if (run.time_left.has_value()) {
    message.set_time_left_ms(absl::ToInt64Milliseconds(*run.time_left));
  }
  if (run.last_release.has_value()) *message.mutable_last_round() = ToMessage(*run.last_release);
  return message;
}

v1::RoundSummary ToMessage(const ReleaseRecord& release) {
  v1::RoundSummary message;
  const RoundSummary& summary = release.summary;
  message.set_round(summary.round);
  message.set_attempts(summary.attempt);
  message.set_contributions(summary.contributions);
  message.set_example_count(summary.example_count);
  message.set_training_loss(summary.training_loss);
  message.set_burnt(summary.burnt);
  if (summary.evaluation.has_value()) {
    *message.mutable_evaluation() = ToMessage(*summary.evaluation);
  }
  message.set_adapter_sha256(release.adapter.ToBinary());
  message.set_started_unix_ms(absl::ToUnixMillis(release.started_at));
  message.set_ended_unix_ms(absl::ToUnixMillis(release.ended_at));
  for (const LayerLoad& load : LayerLoadsOf(summary.routed)) {
    v1::LayerRouting& layer = *message.add_routing();
    layer.set_routed_tokens(load.routed_tokens);
    layer.set_load_variation(load.variation);
    layer.set_idle_share(load.idle_share);
  }
  return message;
}

void FillExpertTokens(const ReleaseRecord& release, v1::RoundSummary& message) {
  const RoutedTokens& routed = release.summary.routed;
  auto first = routed.counts.begin();
  for (v1::LayerRouting& layer : *message.mutable_routing()) {
    layer.mutable_expert_tokens()->Add(first, first + routed.experts);
    first += routed.experts;
  }
}

v1::ClientStatus ToMessage(const ClientOverview& client) {
  v1::ClientStatus message;
  const ClientRecord& record = client.record;
  message.set_institution(record.institution.value);
  message.set_connected(client.connected);
  message.set_last_seen_unix_ms(absl::ToUnixMillis(record.last_seen));
  message.set_client_version(record.version);
  message.set_device_kind(record.device_kind);
  message.set_device_name(record.device_name);
  message.set_memory_bytes(record.memory_bytes);
  message.set_threads(record.threads);
  message.set_example_count(record.example_count);
  message.set_certificate_expires_unix_ms(absl::ToUnixMillis(record.certificate_expires));
  for (const RunId& run : client.runs) message.add_run_ids(run.value);
  return message;
}

v1::ModelEntry ToMessage(const ModelRecord& model) {
  v1::ModelEntry message;
  message.set_name(model.name);
  message.set_digest(model.digest);
  message.set_base_model_json(model.base_model_json);
  message.set_added_unix_ms(absl::ToUnixMillis(model.added));
  return message;
}

}  // namespace fedtune
