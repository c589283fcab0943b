// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/logging.h"
#include "base/status_macros.h"
#include "client/round/local_workshop.h"
#include "gtest/gtest.h"
#include "plan/adapter_targets.h"
#include "plan/plan.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::testing {

inline constexpr char kModel[] = "examples/base_model/icd-moe";
inline constexpr char kPlan[] = R"(name = "icd10"
base_model = "icd-moe"
[adapter]
rank = 1
targets = ["q_proj"]
[training]
steps = 1
batch_size = 1
[rounds]
count = 3
[aggregation]
mode = "plain"
method = "fedit"
)";

inline constexpr size_t kRoutedExperts = 3 * 8;  // Of the model.

// Leaves the adapter as it is, or fails.
class IdleTrainer final : public Trainer {
 public:
  IdleTrainer(int& trainings, const absl::Status& failure, const std::function<void()>& meanwhile)
      : trainings_(trainings), failure_(failure), meanwhile_(meanwhile) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver&) override {
    ++trainings_;
    meanwhile_();
    RETURN_IF_ERROR(failure_);
    return TrainingOutcome{.adapter = {request.adapter.begin(), request.adapter.end()},
                           .routed_tokens = std::vector<int64_t>(kRoutedExperts)};
  }
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest&,
                                      const EvaluationObserver&) override {
    return Evaluation{};
  }

 private:
  int& trainings_;
  const absl::Status& failure_;
  const std::function<void()>& meanwhile_;
};

// Has an adapter of zeros of any size.
class ZeroLink final : public CoordinatorLink {
 public:
  void Send(const Reply& reply) override { said = std::get<SecureMessage>(reply).message; }
  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token,
                                                  const TransferObserver&) override {
    return std::vector<float>(static_cast<size_t>(wanted.value_count));
  }
  absl::Status Submit(std::shared_ptr<const Contribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution>, std::stop_token) override {
    return absl::OkStatus();
  }
  absl::StatusOr<LogProof> ProveLog(const LogQuestion&, std::stop_token) override {
    return absl::UnimplementedError("it keeps no log");
  }

  Bytes said;
};

class LocalWorkshopTest : public ::testing::Test {
 protected:
  LocalWorkshopTest() : shelf_({kModel}), workshop_(SiteOf(), OpenerOf()) {
    const BaseModelDescription model = ReadBaseModel(kModel)->description;
    invitation_ = {
        .run = "run-1",
        .plan_toml = kPlan,
        .layout_json = ResolveTargets(model, ParsePlan(kPlan, "plan.toml")->adapter)->ToJson(),
        .base_digest = model.digest};
  }

  Site SiteOf() {
    return {.institution = "st-anna",
            .policy = {},
            .base_models = shelf_,
            .load_records = [this](const auto&, const auto&) { return records_; },
            .join_secure_run = {},
            .trains_on_gpu = on_gpu_};
  }
  TrainerOpener OpenerOf() {
    return [this](const auto&) -> absl::StatusOr<std::unique_ptr<Trainer>> {
      ++loads_;
      return std::make_unique<IdleTrainer>(trainings_, failure_, meanwhile_);
    };
  }
  RoundKeeper Keeper() {
    return *RoundKeeper::Open({.directory = folder_.path() / "rounds",
                               .key = SecretBytes(std::vector<uint8_t>(32)),
                               .interval = absl::Minutes(1)},
                              clock_, log_);
  }

  InvitationAnswer Study(LocalWorkshop& workshop) {
    return *workshop.Study(invitation_, link_, {});
  }
  absl::Status Work(int64_t round) {
    return workshop_.Work(AssignmentOf(IdOf(round)), link_, control_, [](const WorkProgress&) {});
  }
  // As the plan has it.
  static Assignment AssignmentOf(const AttemptId& id) {
    return {.id = id, .evaluate = id.round == 0};
  }
  static AttemptId IdOf(int64_t round) { return {.run = "run-1", .round = round}; }

  const TemporaryDirectory folder_;
  FakeClock clock_;
  Log log_;
  BaseModelShelf shelf_;
  LocalRecords records_ = {
      .training = {{.tokens = {1, 2}, .is_target = {0, 1}}}, .validation = {}, .choices = {}};
  int loads_ = 0;
  bool on_gpu_ = false;
  int trainings_ = 0;
  absl::Status failure_ = absl::OkStatus();  // Of each training.
  std::function<void()> meanwhile_ = [] {};  // While one is under way.
  LocalWorkshop workshop_;
  ZeroLink link_;
  WorkControl control_;
  Invitation invitation_;
};

}  // namespace fedtune::testing
