// SPDX-License-Identifier: Apache-2.0

#include "client/round/local_workshop.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/round/assignment_check.h"
#include "client/round/refused_log.h"
#include "client/training/step_error.h"
#include "fmt/format.h"
#include "plan/evaluated_rounds.h"

namespace fedtune {
namespace {

// Of the device, in an attempt. The first may be chance.
constexpr int64_t kMostLosses = 2;

// A file that is not there, or a disk that does not answer.
bool MayPass(const absl::Status& why) { return absl::IsNotFound(why) || absl::IsInternal(why); }

// As far as can be told without reading them.
bool HoldTheSame(const ModelFile& a, const ModelFile& b) {
  return a.name == b.name && a.size == b.size && a.written_ns == b.written_ns;
}

absl::Status WasChanged(const LocalFolder& base_model) {
  return absl::FailedPreconditionError(fmt::format(
      "the base model in {} was changed while this round used it", base_model.directory.string()));
}

}  // namespace

// A coordinator that tells each institution something else is not to cost time.
std::optional<InvitationAnswer> LocalWorkshop::Study(const Invitation& invitation,
                                                     CoordinatorLink& link, std::stop_token stop) {
  if (site_.log_witness == nullptr) return StudyHere(invitation);
  const absl::Status logged = site_.log_witness->CheckStarted(invitation, link, stop);
  if (stop.stop_requested()) return std::nullopt;
  if (logged.ok()) return StudyHere(invitation);
  return InvitationAnswer{.run = invitation.run,
                          .reason = std::string(Message(logged)),
                          .may_pass = true,
                          .passes_by_hand = true,
                          .refuses_log = IsLogRefused(logged)};
}

absl::Status LocalWorkshop::LookAtLog(CoordinatorLink& link, std::stop_token stop) {
  if (site_.log_witness == nullptr) return absl::OkStatus();
  return site_.log_witness->Look(link, stop);
}

InvitationAnswer LocalWorkshop::StudyHere(const Invitation& invitation) {
  absl::StatusOr<RunMaterial> material = StudyRun(site_, invitation);
  if (!material.ok()) {
    return {.run = invitation.run,
            .reason = std::string(Message(material.status())),
            .may_pass = MayPass(material.status())};
  }
  const bool secure = material->membership.has_value();
  const int64_t example_count = secure ? 0 : static_cast<int64_t>(material->training.size());
  const std::lock_guard lock(mutex_);
  runs_[invitation.run] = {.material = std::make_shared<RunMaterial>(*std::move(material)),
                           .contribution = nullptr,
                           .inputs = {}};
  return {
      .run = invitation.run, .accepted = true, .example_count = example_count, .secure = secure};
}

absl::Status LocalWorkshop::Work(const Assignment& assignment, CoordinatorLink& link,
                                 WorkControl& control, const WorkObserver& observer) {
  const std::shared_ptr<const RunMaterial> material = MaterialOf(assignment.id.run);
  if (material == nullptr) return absl::CancelledError("the run has ended");
  RETURN_IF_ERROR(CheckAssignment(assignment, material->plan));
  RETURN_IF_ERROR(CheckLog(assignment, link, control.stop_token()));
  RETURN_IF_ERROR(CheckMayTakePart({assignment, material}));
  const RoundInputs inputs = InputsOf(assignment, *material);
  if (TakeAgain(assignment.id, inputs)) return absl::OkStatus();
  if (keeper_) {
    if (auto stored = keeper_->FindResult(inputs, material->layout)) {
      Put(assignment.id, *std::move(stored));
      return absl::OkStatus();
    }
  }
  RETURN_IF_ERROR(CheckDeviceBears(assignment.id));
  absl::StatusOr<RoundResult> result = WorkOut(assignment, *material, {link, control, observer});
  if (keeper_ && absl::IsAborted(result.status())) keeper_->KeepLoss(assignment.id);
  if (!result.ok()) return Failure(*material, assignment.id.run, result.status());
  if (keeper_) keeper_->Keep(*result);
  Put(assignment.id, *std::move(result));
  return absl::OkStatus();
}

// On a full disk nothing is done that the institution could not prove later.
absl::Status LocalWorkshop::CheckLog(const Assignment& assignment, CoordinatorLink& link,
                                     std::stop_token stop) {
  if (site_.log_witness == nullptr) return absl::OkStatus();
  absl::Status opened = site_.log_witness->CheckOpened(assignment, link, stop);
  return absl::IsResourceExhausted(opened) ? absl::UnavailableError(opened.message()) : opened;
}

absl::StatusOr<RoundResult> LocalWorkshop::WorkOut(const Assignment& assignment,
                                                   const RunMaterial& material,
                                                   const Surroundings& around) {
  ASSIGN_OR_RETURN(const LocalFolder base_model, BaseModelOf(material));
  ASSIGN_OR_RETURN(Trainer * trainer, TrainerFor(base_model));
  RoundKeeper* keeper = keeper_ ? &*keeper_ : nullptr;
  RoundWork work(assignment, material,
                 {*trainer, around.link, around.control, around.observer, fetched_, keeper,
                  &site_.observe_work});
  absl::StatusOr<RoundResult> result = work.Perform();
  const absl::Status unchanged = CheckStillThere(base_model, material.base_digest);
  if (unchanged.ok()) return result;
  trainer_.reset();
  // Its checkpoint may be of either model.
  if (absl::IsFailedPrecondition(unchanged)) Discard(assignment.id.run);
  if (absl::IsCancelled(result.status()) || absl::IsAborted(result.status())) return result;
  return unchanged;
}

// Rights, owners and links may have changed, with which the files' contents are the same.
absl::Status LocalWorkshop::CheckStillThere(const LocalFolder& base_model,
                                            const std::string& digest) {
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, ModelFilesIn(base_model.directory));
  if (files == base_model.files) return absl::OkStatus();
  if (std::ranges::equal(files, base_model.files, HoldTheSame)) {
    const absl::StatusOr<LocalBaseModel> found = site_.base_models.Find(digest);
    if (found.ok() && found->directory == base_model.directory) return absl::OkStatus();
  }
  return WasChanged(base_model);
}

// Whoever loses it again and again in the same step would hold the round to its deadline. The
// CPU may go on with what is stored.
absl::Status LocalWorkshop::CheckDeviceBears(const AttemptId& id) {
  if (!site_.trains_on_gpu) return absl::OkStatus();
  const int64_t losses = keeper_ ? keeper_->CountLosses(id) : 0;
  if (losses < kMostLosses) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "the GPU was lost {} times in this attempt, which is given up; the log says how", losses));
}

// The number of a step bounds that of the records.
absl::Status LocalWorkshop::Failure(const RunMaterial& material, const std::string& run,
                                    const absl::Status& why) const {
  if (material.tells_counts) return why;
  absl::Status told = WithoutStep(why);
  if (told != why && site_.observe_refusal) site_.observe_refusal(run, why);
  return told;
}

// Rather than train in vain. What may pass is seen to when the work is handed in.
absl::Status LocalWorkshop::CheckMayTakePart(const SecureRoundWork& work) {
  if (!work.material->membership) return absl::OkStatus();
  Check(desk_.has_value(), "a site that joins secure runs has a journal");
  absl::Status status = desk_->CheckMayTakePart(work);
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;
}

// Whether what was worked out for another attempt at the round, or for this one, is
// kept and good for this one.
bool LocalWorkshop::TakeAgain(const AttemptId& id, const RoundInputs& inputs) {
  const std::lock_guard lock(mutex_);
  const auto run = runs_.find(id.run);
  if (run == runs_.end() || run->second.contribution == nullptr) return false;
  if (run->second.inputs != inputs) return false;
  if (run->second.contribution->id == id) return true;
  Contribution contribution = *run->second.contribution;
  contribution.id = id;
  run->second.contribution = std::make_shared<Contribution>(std::move(contribution));
  return true;
}

void LocalWorkshop::Put(const AttemptId& id, RoundResult result) {
  const RoundInputs& inputs = result.inputs;
  auto contribution =
      std::make_shared<Contribution>(Contribution{.id = id,
                                                  .adapter = inputs.adapter,
                                                  .layout = inputs.layout,
                                                  .factors = inputs.factors,
                                                  .evaluate_only = inputs.evaluate_only,
                                                  .delta = std::move(result.delta),
                                                  .metrics = result.metrics});
  const std::lock_guard lock(mutex_);
  const auto run = runs_.find(id.run);
  if (run == runs_.end()) return;
  run->second.contribution = std::move(contribution);
  run->second.inputs = std::move(result.inputs);
}

std::shared_ptr<const Contribution> LocalWorkshop::Kept(const AttemptId& id) {
  const std::lock_guard lock(mutex_);
  const auto run = runs_.find(id.run);
  if (run == runs_.end() || run->second.contribution == nullptr) return nullptr;
  return run->second.contribution->id == id ? run->second.contribution : nullptr;
}

Workshop::Outcome LocalWorkshop::Submit(const AttemptId& id, CoordinatorLink& link,
                                        std::stop_token stop) {
  const std::shared_ptr<const Contribution> kept = Kept(id);
  const std::shared_ptr<const RunMaterial> material = MaterialOf(id.run);
  if (kept == nullptr || material == nullptr) {
    return absl::FailedPreconditionError("the contribution is not kept any more");
  }
  if (!material->membership) return link.Submit(kept, std::move(stop));
  Check(desk_.has_value(), "a site that joins secure runs has a journal");
  const Assignment assignment{.id = id,
                              .adapter = kept->adapter,
                              .factors = kept->factors,
                              .evaluate = Evaluates(material->plan, id.round),
                              .evaluate_only = kept->evaluate_only};
  return desk_->Submit({assignment, material}, kept, link, std::move(stop));
}

Workshop::Outcome LocalWorkshop::Answer(const Assignment& assignment, const Bytes& message,
                                        CoordinatorLink& link, std::stop_token stop) {
  const std::shared_ptr<const RunMaterial> material = MaterialOf(assignment.id.run);
  if (material == nullptr || !material->membership) return std::nullopt;
  Check(desk_.has_value(), "a site that joins secure runs has a journal");
  return desk_->Answer({assignment, material}, Kept(assignment.id), message, link, std::move(stop));
}

absl::Status LocalWorkshop::EndAggregation(const std::string& run) {
  return desk_ ? desk_->End(run) : absl::OkStatus();
}

absl::Status LocalWorkshop::EndAggregationsBut(const std::vector<std::string>& runs) {
  return desk_ ? desk_->EndAllBut(runs) : absl::OkStatus();
}

void LocalWorkshop::Forget(const std::string& run) {
  const std::lock_guard lock(mutex_);
  runs_.erase(run);
}

void LocalWorkshop::Discard(const std::string& run) {
  if (keeper_) keeper_->Discard(run);
}

void LocalWorkshop::KeepOnly(const std::vector<std::string>& runs) {
  if (keeper_) keeper_->KeepOnly(runs);
}

std::shared_ptr<const RunMaterial> LocalWorkshop::MaterialOf(const std::string& run) {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(run);
  return found == runs_.end() ? nullptr : found->second.material;
}

// Where it is now. Files that were written to are read anew: what they hold may be the same.
absl::StatusOr<LocalFolder> LocalWorkshop::BaseModelOf(const RunMaterial& material) {
  LocalFolder studied{material.base_model, material.base_model_files};
  const auto files = ModelFilesIn(studied.directory);
  if (files.ok() && *files == studied.files) return studied;
  absl::StatusOr<LocalBaseModel> model = site_.base_models.Find(material.base_digest);
  if (model.ok()) return LocalFolder{std::move(model->directory), std::move(model->files)};
  return Annotate(model.status(), "its base model was changed during the run");
}

// The one that is loaded, if it is that of the last round.
absl::StatusOr<Trainer*> LocalWorkshop::TrainerFor(const LocalFolder& base_model) {
  if (trainer_ != nullptr && loaded_ == base_model) return trainer_.get();
  trainer_.reset();  // Two base models need not fit into memory.
  ASSIGN_OR_RETURN(trainer_, open_trainer_(base_model.directory));
  loaded_ = base_model;
  return trainer_.get();
}

}  // namespace fedtune
