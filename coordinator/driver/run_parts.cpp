// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_parts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <variant>

#include "aggregation/adapter_bytes.h"
#include "aggregation/adapter_init.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "base/usable_memory.h"
#include "coordinator/rounds/round_journal.h"
#include "fmt/format.h"
#include "plan/adapter_targets.h"
#include "plan/plan.h"
#include "plan/routing_shape.h"
#include "plan/sequence_length.h"

namespace fedtune {
namespace {

absl::StatusOr<BaseModelDescription> FindBaseModel(const StartRequest& request, const Plan& plan,
                                                   const FederationStore& catalogue) {
  if (!request.base_model_json.empty()) {
    return BaseModelDescriptionFromJson(request.base_model_json);
  }
  ASSIGN_OR_RETURN(const std::optional<ModelRecord> found, catalogue.FindModel(plan.base_model));
  if (found.has_value()) return BaseModelDescriptionFromJson(found->base_model_json);
  return absl::InvalidArgumentError(fmt::format(
      "base model {} is not in the catalogue (fedtune model list shows it); name a folder that "
      "holds the model",
      plan.base_model));
}

// Clients compare this digest with that of their own copy.
absl::StatusOr<std::string> AgreedDigest(const Plan& plan, const BaseModelDescription& model) {
  if (plan.base_digest.empty() && model.digest.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "the digest of base model {} is not known; give base_digest in the plan", model.name));
  }
  if (!plan.base_digest.empty() && !model.digest.empty() && plan.base_digest != model.digest) {
    return absl::InvalidArgumentError(
        fmt::format("the plan wants a base model with digest {}, but {} has {}", plan.base_digest,
                    model.name, model.digest));
  }
  return plan.base_digest.empty() ? model.digest : plan.base_digest;
}

absl::StatusOr<Blob> ReadBlob(const RunStore& store, const Digest& digest, std::string_view what) {
  ASSIGN_OR_RETURN(Blob blob, store.GetBlob(digest));
  if (Sha256Of(blob.bytes()) == digest) return blob;
  return absl::DataLossError(fmt::format("{} is damaged on the disk", what));
}

absl::Status ReadAdapter(const RunRecord& record, const RunStore& store, RunParts& parts) {
  const int64_t size = parts.layout.parameter_count();
  ASSIGN_OR_RETURN(Blob adapter, ReadBlob(store, record.adapter, "the newest adapter"));
  RETURN_IF_ERROR(CheckByteCount(adapter.size(), size, "the newest adapter"));
  parts.adapter.emplace(std::move(adapter), record.adapter);
  if (!record.optimizer_state.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(parts.optimizer.blob,
                   ReadBlob(store, *record.optimizer_state, "the server optimiser's state"));
  const Blob& state = parts.optimizer.blob;
  ASSIGN_OR_RETURN(parts.optimizer.head,
                   ReadOptimizerStateHead(
                       {reinterpret_cast<const char*>(state.bytes().data()), state.size()}, size));
  return absl::OkStatus();
}

bool HasBurnt(const ReleaseRecord& release) { return release.summary.contributions == 0; }

void CountBurnt(const std::vector<ReleaseRecord>& releases, ResumePoint& point) {
  point.rounds_burnt = std::count_if(releases.begin(), releases.end(), HasBurnt);
  point.burnt_in_a_row =
      std::find_if_not(releases.rbegin(), releases.rend(), HasBurnt) - releases.rbegin();
}

absl::StatusOr<ResumePoint> ReadResumePoint(const RunRecord& record, const RunStore& store) {
  ResumePoint point;
  point.rounds_done = record.rounds_done;
  point.attempts_opened = record.attempts_opened;
  point.pause = record.pause;
  point.stop = record.stop;
  ASSIGN_OR_RETURN(const std::vector<ClientView> clients, store.Clients(record.id));
  for (const ClientView& client : clients) {
    point.clients.push_back({.institution = client.institution,
                             .accepted = client.accepted,
                             .declined = client.state == ClientStanding::kDeclined ||
                                         client.state == ClientStanding::kRefusing,
                             .refuses_log = client.state == ClientStanding::kRefusing,
                             .reason = client.reason,
                             .example_count = client.example_count,
                             .rounds_contributed = client.rounds_contributed});
  }
  ASSIGN_OR_RETURN(const std::vector<EvaluationSummary> evaluations, store.Evaluations(record.id));
  if (!evaluations.empty()) {
    point.first_evaluation = evaluations.front();
    point.last_evaluation = evaluations.back();
  }
  return point;
}

template <typename T>
std::optional<T> FindIn(const std::map<Institution, T>& by_name, const Institution& name) {
  const auto found = by_name.find(name);
  return found == by_name.end() ? std::nullopt : std::optional(found->second);
}

// What the journal says between two rounds.
void TakeBetweenRounds(RunParts& parts) {
  if (parts.journal.empty()) return;
  const absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(parts.journal.front());
  const auto* between = entry.ok() ? std::get_if<BetweenRounds>(&entry->what) : nullptr;
  if (between == nullptr) return;
  parts.journal.clear();
  ResumePoint& point = *parts.resume;
  point.burnt_in_a_row = between->burnt_in_a_row.value_or(point.burnt_in_a_row);
  for (ResumePoint::Client& client : point.clients) {
    client.blame = FindIn(between->blamed, client.institution);
    client.work = FindIn(between->work, client.institution);
  }
}

// Burnt rounds leave the optimiser as it was.
absl::StatusOr<bool> ShouldHaveOptimizerState(const RunRecord& record, const Plan& plan,
                                              const RunStore& store) {
  if (plan.server.optimizer == ServerRule::kAverage) return false;
  ASSIGN_OR_RETURN(const std::vector<ReleaseRecord> releases, store.Releases(record.id));
  return !std::all_of(releases.begin(), releases.end(), HasBurnt);
}

// One that is larger would end the coordinator, and all other runs would wait for it.
absl::Status CheckFitsIntoMemory(const AdapterLayout& layout) {
  const uint64_t size = sizeof(float) * static_cast<uint64_t>(layout.parameter_count());
  const uint64_t usable = UsableMemory();
  if (size <= usable) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "the adapter has {}, and the coordinator may use {} of memory; lower the plan's rank, or "
      "train fewer layers",
      HumanBytes(size), HumanBytes(usable)));
}

}  // namespace

absl::StatusOr<RunParts> PartsOfNewRun(const StartRequest& request, RunId id,
                                       const FederationStore& catalogue, absl::Time now) {
  RunParts parts;
  ASSIGN_OR_RETURN(parts.plan, ParsePlan(request.plan_toml, "plan.toml"));
  ASSIGN_OR_RETURN(const BaseModelDescription model, FindBaseModel(request, parts.plan, catalogue));
  ASSIGN_OR_RETURN(parts.record.base_digest, AgreedDigest(parts.plan, model));
  ASSIGN_OR_RETURN(parts.layout, ResolveTargets(model, parts.plan.adapter));
  ASSIGN_OR_RETURN(parts.routing, RoutingShapeOf(model, parts.plan.training));
  RETURN_IF_ERROR(CheckSequenceLength(parts.plan.training, model));
  RETURN_IF_ERROR(CheckFitsIntoMemory(parts.layout));
  parts.adapter.emplace(
      InitialAdapter(parts.layout, static_cast<uint64_t>(parts.plan.training.seed)));
  RunRecord& record = parts.record;
  record.id = std::move(id);
  record.request_id = request.request_id;
  record.plan_name = parts.plan.name;
  record.plan_toml = request.plan_toml;
  record.layout_json = parts.layout.ToJson();
  record.base_model_json = ToJson(model);
  record.base_model = model.name;
  record.started_by = request.started_by;
  record.round_count = parts.plan.rounds.count;
  record.started_at = now;
  record.initial_adapter = record.adapter = parts.adapter->digest();
  record.adapter_bytes = parts.adapter->bytes().size();
  return parts;
}

absl::StatusOr<RunParts> PartsOfStoredRun(const RunRecord& record, const RunStore& store) {
  RunParts parts;
  parts.record = record;
  ASSIGN_OR_RETURN(parts.plan, ParsePlan(record.plan_toml, "plan.toml"));
  ASSIGN_OR_RETURN(parts.layout, AdapterLayout::FromJson(record.layout_json));
  ASSIGN_OR_RETURN(const BaseModelDescription model,
                   BaseModelDescriptionFromJson(record.base_model_json));
  ASSIGN_OR_RETURN(parts.routing, RoutingShapeOf(model, parts.plan.training));
  RETURN_IF_ERROR(ReadAdapter(record, store, parts));
  ASSIGN_OR_RETURN(ResumePoint point, ReadResumePoint(record, store));
  ASSIGN_OR_RETURN(const std::vector<ReleaseRecord> releases, store.Releases(record.id));
  CountBurnt(releases, point);
  if (!releases.empty()) {
    parts.last_release = releases.back();
    point.last_round = releases.back().summary;
  }
  parts.resume = std::move(point);
  if (!record.stop.has_value()) {
    ASSIGN_OR_RETURN(parts.journal, store.Journal(record.id));
    TakeBetweenRounds(parts);
  }
  return parts;
}

absl::StatusOr<RunParts> PartsOfRetriedRun(const RunRecord& record, const RunStore& store) {
  if (record.state == RunState::kFinished) {
    return absl::FailedPreconditionError(
        fmt::format("{} has finished: there is nothing to try again", record.id.value));
  }
  ASSIGN_OR_RETURN(RunParts parts, PartsOfStoredRun(record, store));
  ASSIGN_OR_RETURN(const bool has_state, ShouldHaveOptimizerState(record, parts.plan, store));
  if (has_state && !record.optimizer_state.has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("{} cannot go on: it ended under a version of the coordinator that did not "
                    "keep the state of its server's optimiser",
                    record.id.value));
  }
  parts.resume->retried = true;
  parts.resume->burnt_in_a_row = 0;
  parts.resume->stop.reset();
  parts.record.stop.reset();
  parts.record.state = RunState::kRunning;
  parts.record.reason.clear();
  parts.record.ended_at.reset();
  return parts;
}

}  // namespace fedtune
