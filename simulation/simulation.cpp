// SPDX-License-Identifier: Apache-2.0

#include "simulation/simulation.h"

#include <malloc.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/work_queue.h"
#include "fmt/format.h"
#include "plan/cost.h"
#include "plan/routing_shape.h"
#include "simulation/hub.h"
#include "simulation/resident_memory.h"
#include "simulation/seeded_random.h"
#include "simulation/signers.h"
#include "simulation/synthetic_trainer.h"
#include "simulation/virtual_client.h"

namespace fedtune::simulation {
namespace {

// When all have connected.
constexpr absl::Duration kStart = absl::Seconds(2);
// Of events, between looks at the memory.
constexpr int64_t kMemoryEvery = 4096;

class Play {
 public:
  Play(const SimulatedPlan& plan, const SimulationOptions& options, const RealTraining& real,
       const std::function<void(const RoundReport&)>& on_round)
      : plan_(plan),
        options_(options),
        real_(real),
        on_round_(on_round),
        shelf_({plan.base_folder}),
        scheduler_([] {}) {}

  absl::StatusOr<SimulationReport> Run() {
    const absl::Duration begun = machine_.Monotonic();
    SeedRandomBytes(options_.seed);
    names_ = Names();
    if (is_secure()) signers_.emplace("simulation", names_, plan_.plan.secure.suite);
    ASSIGN_OR_RETURN(hub_, Hub::Open({.state = options_.state,
                                      .plan_toml = plan_.toml,
                                      .base_model_json = ToJson(plan_.base_model),
                                      .roster = signers_ ? signers_->roster() : nullptr,
                                      .on_released = [this](const auto& r) { Released(r); }},
                                     scheduler_));
    ::malloc_trim(0);  // What an earlier run has left counts for none of this one's clients.
    memory_before_ = ResidentMemory();
    RETURN_IF_ERROR(MakeClients());
    absl::Status started = absl::UnknownError("the run has not started");
    scheduler_.At(kStart, [&] { started = hub_->StartRun(); });
    PlayUntil([&] { return scheduler_.now() >= kStart; });
    RETURN_IF_ERROR(started);
    PlayUntil([&] { return !hub_->state().empty(); });
    return Report(machine_.Monotonic() - begun);
  }

 private:
  bool is_secure() const { return plan_.plan.aggregation.mode == AggregationMode::kSecure; }

  // The plan's own, as far as it lists them.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const RealSite& site : real_.sites) names.push_back(site.institution);
    if (!names.empty()) return names;
    const std::vector<std::string>& listed = plan_.plan.rounds.institutions;
    for (int64_t i = 0; i < options_.clients; ++i) {
      names.push_back(i < std::ssize(listed) ? listed[static_cast<size_t>(i)]
                                             : fmt::format("client-{:06}", i + 1));
    }
    return names;
  }

  absl::Status MakeClients() {
    const PlanCost cost =
        EstimateCost(plan_.plan, plan_.base_model, plan_.layout, ComputeType::kFp32);
    ASSIGN_OR_RETURN(const RoutingShape routing,
                     RoutingShapeOf(plan_.base_model, plan_.plan.training));
    const Temperament::Setting setting{.seed = options_.seed,
                                       .training = options_.training,
                                       .deadline = plan_.plan.rounds.deadline,
                                       .dropout = options_.dropout};
    for (size_t i = 0; i < names_.size(); ++i) {
      const auto number = static_cast<int64_t>(i);
      Temperament temperament(setting, number);
      auto workshop = NewWorkshop(i, temperament.records(), routing.counter_count());
      clients_.push_back(std::make_unique<VirtualClient>(
          VirtualClient::Parts{.name = names_[i],
                               .temperament = std::move(temperament),
                               .workshop = std::move(workshop),
                               .bytes_down = static_cast<double>(cost.download_bytes_a_round),
                               .bytes_up = cost.upload_bytes_a_round,
                               .pool = Pool()},
          scheduler_, *hub_, wire_));
      clients_.back()->Start();
    }
    return absl::OkStatus();
  }

  std::unique_ptr<LocalWorkshop> NewWorkshop(size_t index, int64_t records, int64_t counters) {
    const std::string& name = names_[index];
    Site site{
        .institution = name,
        .policy = WillingPolicy(),
        .base_models = shelf_,
        .load_records = real_.sites.empty() ? MadeUp(records) : real_.sites[index].load_records,
        .join_secure_run = [this, name](std::string_view, CipherSuite) {
          return absl::StatusOr<SecureMembership>(signers_->MembershipOf(name));
        }};
    TrainerOpener open = real_.open_trainer;
    if (!open) {
      open = [seed = options_.seed, index,
              counters](const auto&) -> absl::StatusOr<std::unique_ptr<Trainer>> {
        return std::make_unique<SyntheticTrainer>(seed, static_cast<int64_t>(index), counters);
      };
    }
    return std::make_unique<LocalWorkshop>(std::move(site), std::move(open), JournalOf(name));
  }

  // Of clients that take part in whatever the plan's check lets pass.
  Policy WillingPolicy() const {
    Policy policy;
    if (is_secure()) policy.min_cohort = 1;  // As low as there is.
    return policy;
  }

  TrainingPool Pool() {
    if (real_.sites.empty()) return {};
    if (!pool_) pool_.emplace(real_.threads);
    return [this](std::function<void()> training) { pool_->Add(std::move(training)); };
  }

  std::optional<SessionJournal> JournalOf(const std::string& name) const {
    if (!signers_) return std::nullopt;
    auto journal = SessionJournal::Open(":memory:", *signers_->KeyOf(name));
    Check(journal.ok(), Message(journal.status()));
    return *std::move(journal);
  }

  static RecordLoader MadeUp(int64_t count) {
    return [count](const auto&, const auto&) -> absl::StatusOr<LocalRecords> {
      const TokenizedRecord record{.tokens = {1, 2}, .is_target = {0, 1}};
      return LocalRecords{.training = std::vector(static_cast<size_t>(count), record),
                          .validation = {},
                          .choices = {}};
    };
  }

  template <typename Done>
  void PlayUntil(Done done) {
    while (!done()) {
      Check(scheduler_.Step(), "a run that goes on waits for something");
      if (scheduler_.steps() % kMemoryEvery == 0) LookAtMemory();
    }
    LookAtMemory();
  }
  void LookAtMemory() { memory_most_ = std::max(memory_most_, ResidentMemory()); }

  void Released(const ReleasedRound& released) {
    const double share = 1.0 / static_cast<double>(std::max<int64_t>(released.cohort, 1));
    const uint64_t up = wire_.up;
    const uint64_t down = wire_.down;
    rounds_.push_back({.round = released.round,
                       .attempt = released.attempt,
                       .cohort = released.cohort,
                       .contributions = released.contributions,
                       .training_loss = released.training_loss,
                       .duration = released.duration,
                       .bytes_up = static_cast<double>(up - told_up_) * share,
                       .bytes_down = static_cast<double>(down - told_down_) * share,
                       .adapter = released.adapter,
                       .burnt = released.burnt});
    told_up_ = up;
    told_down_ = down;
    on_round_(rounds_.back());
  }

  SimulationReport Report(absl::Duration wall) const {
    const Times& times = hub_->transitions();
    return {.state = hub_->state(),
            .reason = hub_->reason(),
            .rounds = rounds_,
            .transitions = times.count(),
            .transition_median = times.Quantile(0.5),
            .transition_p99 = times.Quantile(0.99),
            .transition_max = times.Quantile(1),
            .release_max = hub_->works().Quantile(1),
            .bytes_per_client = static_cast<double>(memory_most_ - memory_before_) /
                                static_cast<double>(names_.size()),
            .virtual_time = scheduler_.now() - kStart,
            .wall_time = wall};
  }

  const SimulatedPlan& plan_;
  const SimulationOptions& options_;
  const RealTraining& real_;
  const std::function<void(const RoundReport&)>& on_round_;
  const SystemClock machine_ = {};
  BaseModelShelf shelf_;
  std::vector<std::string> names_;
  std::optional<Signers> signers_;
  Scheduler scheduler_;
  std::unique_ptr<Hub> hub_;
  std::vector<std::unique_ptr<VirtualClient>> clients_;
  WireBytes wire_;
  std::optional<ThreadedWorkQueue> pool_;  // Behind those whom it works for.
  uint64_t told_up_ = 0;                   // When the last round was released.
  uint64_t told_down_ = 0;
  std::vector<RoundReport> rounds_;
  int64_t memory_before_ = 0;
  int64_t memory_most_ = 0;
};

}  // namespace

absl::StatusOr<SimulationReport> Simulate(const SimulatedPlan& plan,
                                          const SimulationOptions& options,
                                          const RealTraining& real,
                                          const std::function<void(const RoundReport&)>& on_round) {
  return Play(plan, options, real, on_round).Run();
}

}  // namespace fedtune::simulation
