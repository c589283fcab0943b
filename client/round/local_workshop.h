// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/round/round_keeper.h"
#include "client/round/round_record.h"
#include "client/round/round_work.h"
#include "client/round/run_material.h"
#include "client/round/secure_desk.h"
#include "client/round/study.h"
#include "client/round/workshop.h"
#include "client/training/trainer.h"
#include "plan/base_model_digest.h"

namespace fedtune {

// Loads a base model for training.
using TrainerOpener = std::function<absl::StatusOr<std::unique_ptr<Trainer>>(
    const std::filesystem::path& base_model)>;

// A base model's folder with the files that have its digest.
struct LocalFolder {
  std::filesystem::path directory;
  std::vector<ModelFile> files;

  friend bool operator==(const LocalFolder&, const LocalFolder&) = default;
};

// Works with this machine's base models, records and device. The base model of
// the last round stays loaded, and so do the tokens of every open run.
class LocalWorkshop final : public Workshop {
 public:
  // `journal` is of secure aggregations; none where the site cannot join them.
  // Without a keeper a round's work is lost with the process.
  LocalWorkshop(Site site, TrainerOpener open_trainer,
                std::optional<SessionJournal> journal = std::nullopt,
                std::optional<RoundKeeper> keeper = std::nullopt)
      : site_(std::move(site)), open_trainer_(std::move(open_trainer)), keeper_(std::move(keeper)) {
    if (journal.has_value()) desk_.emplace(*std::move(journal));
  }

  std::optional<InvitationAnswer> Study(const Invitation& invitation, CoordinatorLink& link,
                                        std::stop_token stop) override;
  absl::Status LookAtLog(CoordinatorLink& link, std::stop_token stop) override;
  absl::Status Work(const Assignment& assignment, CoordinatorLink& link, WorkControl& control,
                    const WorkObserver& observer) override;
  Outcome Submit(const AttemptId& id, CoordinatorLink& link, std::stop_token stop) override;
  Outcome Answer(const Assignment& assignment, const Bytes& message, CoordinatorLink& link,
                 std::stop_token stop) override;
  absl::Status EndAggregation(const std::string& run) override;
  absl::Status EndAggregationsBut(const std::vector<std::string>& runs) override;
  void Forget(const std::string& run) override;
  void Discard(const std::string& run) override;
  void KeepOnly(const std::vector<std::string>& runs) override;

  // The contribution that is kept for this attempt; null if none is.
  std::shared_ptr<const Contribution> Kept(const AttemptId& id);

 private:
  struct OpenRun {
    std::shared_ptr<const RunMaterial> material;
    std::shared_ptr<const Contribution> contribution;  // The last one; may be null.
    RoundInputs inputs;                                // Of the contribution.
  };

  // Of the work for a round.
  struct Surroundings {
    CoordinatorLink& link;
    WorkControl& control;
    const WorkObserver& observer;
  };

  absl::StatusOr<RoundResult> WorkOut(const Assignment& assignment, const RunMaterial& material,
                                      const Surroundings& around);
  InvitationAnswer StudyHere(const Invitation& invitation);
  absl::Status CheckMayTakePart(const SecureRoundWork& work);
  absl::Status CheckLog(const Assignment& assignment, CoordinatorLink& link, std::stop_token stop);
  absl::Status CheckDeviceBears(const AttemptId& id);
  absl::Status Failure(const RunMaterial& material, const std::string& run,
                       const absl::Status& why) const;
  bool TakeAgain(const AttemptId& id, const RoundInputs& inputs);
  void Put(const AttemptId& id, RoundResult result);

  std::shared_ptr<const RunMaterial> MaterialOf(const std::string& run);
  absl::StatusOr<LocalFolder> BaseModelOf(const RunMaterial& material);
  absl::Status CheckStillThere(const LocalFolder& base_model, const std::string& digest);
  absl::StatusOr<Trainer*> TrainerFor(const LocalFolder& base_model);

  const Site site_;
  const TrainerOpener open_trainer_;

  std::mutex mutex_;
  std::map<std::string, OpenRun> runs_;  // Guarded by mutex_.

  // Used by Submit(), Answer(), EndAggregation() and EndAggregationsBut() alone, but for
  // what is thread-safe.
  std::optional<SecureDesk> desk_;

  // Used by Work(), Discard() and KeepOnly() alone.
  std::optional<RoundKeeper> keeper_;
  LocalFolder loaded_;
  std::unique_ptr<Trainer> trainer_;
  std::optional<FetchedAdapter> fetched_;
};

}  // namespace fedtune
