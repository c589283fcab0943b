// SPDX-License-Identifier: Apache-2.0

#include "client/round/study.h"

#include <utility>

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "client/data/batch_stream.h"
#include "fmt/format.h"
#include "plan/adapter_targets.h"
#include "plan/plan.h"
#include "plan/routing_shape.h"
#include "plan/sequence_length.h"

namespace fedtune {
namespace {

// More than the coordinator has, whose cores may be faster.
constexpr MatchingTime kMatchingTime{.most = absl::Seconds(60)};

// The layout is the coordinator's; ours must be the same, or the two of us do
// not mean the same layers by the plan.
absl::Status CheckLayout(const AdapterLayout& layout, const BaseModelDescription& model,
                         const AdapterPlan& plan) {
  ASSIGN_OR_RETURN(const AdapterLayout ours, ResolveTargets(model, plan, kMatchingTime));
  if (ours == layout) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "the coordinator trains {} layers, which are not the {} that the plan's targets give on {}",
      layout.modules().size(), ours.modules().size(), model.name));
}

absl::Status PrepareForSecureRounds(const Site& site, const Invitation& invitation,
                                    RunMaterial& material) {
  if (material.plan.aggregation.mode == AggregationMode::kPlain) return absl::OkStatus();
  material.tells_counts = site.policy.tell_record_counts;
  ASSIGN_OR_RETURN(material.membership,
                   site.join_secure_run(invitation.signing_roster, material.plan.secure.suite));
  material.floor = {.min_cohort = static_cast<int>(LeastSecureCohort(site.policy)),
                    .assumed_corrupt = static_cast<int>(site.policy.assumed_corrupt)};
  return absl::OkStatus();
}

// `why` may say how many records there are, or how long they are.
absl::Status Refusal(const Site& site, const Invitation& invitation, const RunMaterial& material,
                     const absl::Status& why, std::string_view without_counts) {
  if (material.tells_counts) return why;
  if (site.observe_refusal) site.observe_refusal(invitation.run, why);
  return absl::Status(why.code(), fmt::format("{}; its log says more", without_counts));
}

std::string CountBytes(size_t count) {
  return {reinterpret_cast<const char*>(&count), sizeof(count)};
}

void Add(Sha256& hash, std::span<const TokenizedRecord> records) {
  hash.Update(CountBytes(records.size()));
  for (const TokenizedRecord& record : records) {
    hash.Update(CountBytes(record.tokens.size()))
        .Update(std::as_bytes(std::span(record.tokens)))
        .Update(std::as_bytes(std::span(record.is_target)));
  }
}

// Reads the institution's records, and sees whether a training on them fits into memory.
absl::Status TakeRecords(const Site& site, const Invitation& invitation,
                         const LocalBaseModel& model, RunMaterial& material) {
  absl::StatusOr<LocalRecords> loaded = site.load_records(model.directory, material.plan.training);
  if (!loaded.ok()) {
    return Refusal(site, invitation, material, loaded.status(), "its records cannot be read");
  }
  LocalRecords records = *std::move(loaded);
  if (records.training.empty()) {
    return absl::FailedPreconditionError("it has no record that can be trained on");
  }
  const absl::StatusOr<MemoryFit> fit =
      FitIntoMemory(site.memory, {material.plan, model.description, material.layout,
                                  records.training, records.validation, site.institution});
  if (!fit.ok()) {
    return Refusal(site, invitation, material, fit.status(),
                   "training does not fit into its memory");
  }
  if (site.observe_memory) site.observe_memory(invitation.run, *fit);
  material.recomputed_layers = fit->recomputed_layers;
  const TrainingPlan& training = material.plan.training;
  material.batch =
      [batches = BatchStream({.seed = static_cast<uint64_t>(training.seed),
                              .institution = site.institution,
                              .record_count = static_cast<int64_t>(records.training.size()),
                              .batch_size = training.batch_size})](int64_t global_step) mutable {
        return batches.Batch(global_step);
      };
  material.records_digest = RecordsDigest(site.institution, records);
  material.training = std::move(records.training);
  material.validation = std::move(records.validation);
  material.choices = std::move(records.choices);
  return absl::OkStatus();
}

}  // namespace

Digest RecordsDigest(std::string_view institution, const LocalRecords& records) {
  Sha256 hash;
  hash.Update(CountBytes(institution.size())).Update(institution);
  Add(hash, records.training);
  Add(hash, records.validation);
  return std::move(hash).Finish();
}

absl::StatusOr<RunMaterial> StudyRun(const Site& site, const Invitation& invitation) {
  RunMaterial material;
  ASSIGN_OR_RETURN(material.plan,
                   ParsePlan(invitation.plan_toml, fmt::format("plan of {}", invitation.run)));
  ASSIGN_OR_RETURN(material.layout, AdapterLayout::FromJson(invitation.layout_json));
  material.plan_toml = invitation.plan_toml;
  material.base_digest = invitation.base_digest;
  material.layout_digest = Sha256Of(invitation.layout_json);
  ASSIGN_OR_RETURN(LocalBaseModel model, site.base_models.Find(invitation.base_digest));
  RETURN_IF_ERROR(CheckLayout(material.layout, model.description, material.plan.adapter));
  RETURN_IF_ERROR(CheckSequenceLength(material.plan.training, model.description));
  ASSIGN_OR_RETURN(material.routing, RoutingShapeOf(model.description, material.plan.training));
  Decision decision = Decide(
      site.policy, {material.plan, material.layout, model.description, model.earlier_digest});
  if (!decision.accepted) return absl::PermissionDeniedError(decision.reason);
  RETURN_IF_ERROR(PrepareForSecureRounds(site, invitation, material));
  RETURN_IF_ERROR(TakeRecords(site, invitation, model, material));
  material.base_model = std::move(model.directory);
  material.base_model_files = std::move(model.files);
  return material;
}

}  // namespace fedtune
