// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/simulated_client.h"

#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "aggregation/masked_vector.h"
#include "base/check.h"
#include "base/logging.h"
#include "base/overloaded.h"
#include "base/status.h"
#include "client/round/client_state.h"
#include "client/round/local_workshop.h"
#include "client/round/round_keeper.h"
#include "client/transport/conversion.h"
#include "plan/adapter_targets.h"
#include "plan/routing_shape.h"
#include "plan/secure_session.h"
#include "plan/secure_vector.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/session_keys.h"
#include "tests/simulation/federation.h"
#include "tests/support/values_in_memory.h"

namespace fedtune::simulation {
namespace {

class SyntheticTrainer final : public Trainer {
 public:
  SyntheticTrainer(Institution institution, Ground& ground, uint64_t nonce)
      : institution_(std::move(institution)), ground_(ground), nonce_(nonce) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    if (observer && !observer({.step = 1, .steps = 1})) return absl::CancelledError("stopped");
    if (ground_.Happens(ground_.plan.faults.training_fails)) {
      return absl::ResourceExhaustedError("out of memory");
    }
    return TrainingOutcome{
        .adapter = SyntheticallyTrained(institution_, *request.layout, request.factors,
                                        request.adapter, nonce_),
        .loss = kSyntheticLoss,
        .token_count = kSyntheticTokens,
        .routed_tokens = std::vector<int64_t>(Federation::Get().routed_experts(), 1)};
  }
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest&,
                                      const EvaluationObserver&) override {
    return absl::InternalError("there is no validation split");
  }

 private:
  const Institution institution_;
  Ground& ground_;
  const uint64_t nonce_;
};

}  // namespace

class SimulatedClient::Process final : public CoordinatorLink,
                                       public std::enable_shared_from_this<Process> {
 public:
  explicit Process(SimulatedClient& client)
      : client_(client),
        ground_(client.ground_),
        examples_(Federation::ExamplesOf(client.institution_, ++client.processes_)),
        log_([&ground = client.ground_, name = client.institution_.value](std::string_view line) {
          ground.Say(name, line);
        }),
        state_(Hours(), absl::UTCTimeZone()) {}

  void Begin() {
    const Institution& self = client_.institution_;
    Policy policy;
    policy.min_cohort = 3;
    workshop_.emplace(
        Site{.institution = self.value,
             .policy = ground_.plan.secure ? policy : Policy(),
             .base_models = Federation::Get().shelf(),
             .load_records = [this](const auto&, const auto&) { return Records(); },
             .join_secure_run = [self](
                                    std::string_view,
                                    CipherSuite) { return Federation::Get().MembershipOf(self); }},
        [this](const auto&) -> absl::StatusOr<std::unique_ptr<Trainer>> {
          return std::make_unique<SyntheticTrainer>(client_.institution_, ground_,
                                                    client_.surroundings_.TrainingNonce());
        },
        ground_.plan.secure ? std::optional(OpenJournal()) : std::nullopt, OpenKeeper());
    ConnectSoon(absl::Milliseconds(500));
    Wake();
  }

  // Ends it; may be called within what it does.
  void End() {
    alive_ = false;
    if (session_ != nullptr) session_->Abandon();
    ground_.Say(client_.institution_.value, "process ends");
  }

  // ---- CoordinatorLink ----

  void Send(const Reply& reply) override {
    EndHereAtTimes();
    if (session_ != nullptr) session_->Send(ReplyToProto(reply));
    EndHereAtTimes();
  }

  absl::StatusOr<std::vector<float>> FetchAdapter(WantedAdapter wanted, std::stop_token stop,
                                                  const TransferObserver&) override {
    while (true) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      const auto blob = client_.surroundings_.Fetch(client_.institution_, wanted.digest, Alive());
      if (blob.ok()) return ValuesFromBytes(*blob, wanted.value_count, "the adapter");
      if (!absl::IsUnavailable(blob.status())) return blob.status();
      ground_.scheduler.Pause(ground_.draws.Between(absl::Milliseconds(250), absl::Seconds(8)));
      if (!alive_) throw ProcessEnded();
    }
  }

  absl::Status Submit(std::shared_ptr<const Contribution> contribution, std::stop_token) override {
    EndHereAtTimes();
    return client_.surroundings_.Submit(client_.institution_, HeaderToProto(*contribution),
                                        ValueBytes(contribution->delta), Alive());
  }

  absl::Status SubmitMasked(std::shared_ptr<const MaskedContribution> contribution,
                            std::stop_token) override {
    EndHereAtTimes();
    // When another attempt has been trained for meanwhile, this one is over.
    if (const auto kept = workshop_->Kept(contribution->id)) {
      client_.surroundings_.Masks(client_.institution_, contribution->id.round,
                                  contribution->id.attempt, WithoutMasks(*kept));
    }
    return client_.surroundings_.Submit(
        client_.institution_, HeaderToProto(*contribution),
        {reinterpret_cast<const char*>(contribution->elements.data()),
         contribution->elements.size()},
        Alive());
  }

  absl::StatusOr<LogProof> ProveLog(const LogQuestion&, std::stop_token) override {
    return absl::UnimplementedError("it keeps no log");
  }

 private:
  // What one of the daemon's threads has to do.
  struct Lane {
    std::deque<std::pair<absl::Duration, std::function<void()>>> waiting;
    bool busy = false;
  };

  absl::StatusOr<LocalRecords> Records() const {
    const TokenizedRecord record{.tokens = {1, 2}, .is_target = {0, 1}};
    return LocalRecords{.training = std::vector(static_cast<size_t>(examples_), record),
                        .validation = {},
                        .choices = {}};
  }

  // On a disk that may be almost full.
  SessionJournal OpenJournal() {
    SessionJournal journal = ReadJournal();
    if (ground_.Happens(ground_.plan.faults.full_client_disk)) {
      ground_.Say(client_.institution_.value, "its disk is almost full");
      Check(journal.LimitPages(6 + ground_.draws.Below(16)).ok(), "a limit can be set");
    }
    return journal;
  }

  // Of results: nothing takes so long here that it would have a checkpoint.
  RoundKeeper OpenKeeper() {
    auto keeper = RoundKeeper::Open({.directory = client_.directory_ / "rounds",
                                     .key = SecretBytes(std::vector<uint8_t>(kAeadKeySize, 7)),
                                     .interval = absl::ZeroDuration()},
                                    client_.clock_, log_);
    Check(keeper.ok(), Message(keeper.status()));
    return *std::move(keeper);
  }

  SessionJournal ReadJournal() const {
    auto journal = SessionJournal::Open(client_.directory_ / "journal.sqlite",
                                        *Federation::Get().KeyOf(client_.institution_));
    Check(journal.ok(), Message(journal.status()));
    return *std::move(journal);
  }

  std::function<bool()> Alive() {
    return [self = shared_from_this()] { return self->alive_; };
  }

  void EndHereAtTimes() {
    if (!ground_.Happens(ground_.plan.faults.client_crash_at_send)) return;
    client_.Crash();
    throw ProcessEnded();
  }

  // As the process, as long as it lives.
  void Do(const std::function<void()>& what) {
    if (!alive_) return;
    try {
      what();
    } catch (const ProcessEnded&) {
    }
  }
  void After(absl::Duration wait, std::function<void()> what) {
    ground_.scheduler.After(
        wait, [self = shared_from_this(), what = std::move(what)] { self->Do(what); });
  }

  // ---- The session ----

  void ConnectSoon(absl::Duration at_most) {
    After(ground_.draws.Between(absl::Milliseconds(1), at_most), [this] { Connect(); });
  }

  void Connect() {
    const std::weak_ptr<Process> weak = weak_from_this();
    session_ = client_.surroundings_.Connect(client_.institution_,
                                             {.heard =
                                                  [weak](const v1::CoordinatorMessage& message) {
                                                    if (const auto self = weak.lock())
                                                      self->Do([&] { self->Hear(message); });
                                                  },
                                              .lost =
                                                  [weak] {
                                                    if (const auto self = weak.lock()) {
                                                      self->session_.reset();
                                                      self->ConnectSoon(absl::Seconds(5));
                                                    }
                                                  }});
    if (session_ == nullptr) ConnectSoon(absl::Seconds(20));
  }

  void Hear(const v1::CoordinatorMessage& message) {
    if (message.has_welcome()) {
      return Carry(state_.Welcomed(WelcomeFromProto(message.welcome()), Now()));
    }
    const auto instruction = InstructionFromProto(message);
    Check(instruction.ok(), "a coordinator's message can be read");
    Carry(state_.Receive(*instruction, Now()));
  }

  Moment Now() const { return {client_.clock_.Now(), client_.clock_.Monotonic()}; }

  // ---- What ClientDaemon does with duties ----

  void Carry(const Duties& duties) {
    for (const Duty& duty : duties) {
      std::visit([this](const auto& kind) { Carry(kind); }, duty);
    }
    Wake();
  }
  void Report(const fedtune::Report& report) {
    After(absl::Milliseconds(1), [this, report] { Carry(state_.Receive(report, Now())); });
  }

  void Carry(const SendReply& duty) { Send(duty.reply); }
  void Carry(const Study& duty) {
    Post(study_, Between(1, 2000), [this, duty] { Report(Studied{Decide(duty.invitation)}); });
  }
  void Carry(const Train& duty) {
    control_ = std::make_shared<WorkControl>();
    const absl::Duration time =
        ground_.draws.Between(absl::Milliseconds(100), ground_.plan.faults.training);
    Post(training_, time, [this, assignment = duty.assignment, control = control_] {
      absl::Status status =
          workshop_->Work(assignment, *this, *control,
                          [this](const WorkProgress& progress) { Report(Progressed{progress}); });
      Report(Trained{assignment.id, std::move(status)});
    });
  }
  void Carry(const StopTraining&) { control_->Stop(); }
  void Carry(const PauseTraining&) { control_->Pause(); }
  void Carry(const ResumeTraining&) { control_->Resume(); }
  void Carry(const fedtune::Submit& duty) {
    Post(submission_, Between(1, 500),
         [this, id = duty.id] { HandedIn(id, workshop_->Submit(id, *this, {})); });
  }
  void Carry(const StopSubmitting&) {}  // As on a network that delivers it all the same.
  void Carry(const Answer& duty) {
    Post(submission_, Between(1, 500), [this, duty] {
      HandedIn(duty.assignment.id, workshop_->Answer(duty.assignment, duty.message, *this, {}));
    });
  }
  void Carry(const EndAggregation& duty) {
    Post(submission_, Between(1, 500),
         [this, run = duty.run] { workshop_->EndAggregation(run).IgnoreError(); });
  }
  void Carry(const KeepOnly& duty) {
    Post(training_, Between(1, 100), [this, runs = duty.runs] { workshop_->KeepOnly(runs); });
  }
  void Carry(const LookAtLog&) {}  // Nobody rolls a log back here.
  void Carry(const Forget& duty) {
    workshop_->Forget(duty.run);
    Post(training_, Between(1, 100), [this, run = duty.run] { workshop_->Discard(run); });
    Carry(EndAggregation{duty.run});
  }

  InvitationAnswer Decide(const Invitation& invitation) {
    if (!ground_.Happens(ground_.plan.faults.declines)) {
      return *workshop_->Study(invitation, *this, {});
    }
    return {.run = invitation.run, .reason = "its board has not met yet"};
  }

  void HandedIn(const AttemptId& id, const std::optional<absl::Status>& outcome) {
    if (outcome.has_value()) Report(Submitted{id, *outcome});
  }

  absl::Duration Between(int64_t least_ms, int64_t most_ms) {
    return ground_.draws.Between(absl::Milliseconds(least_ms), absl::Milliseconds(most_ms));
  }

  void Post(Lane& lane, absl::Duration time, std::function<void()> task) {
    lane.waiting.emplace_back(time, std::move(task));
    if (!lane.busy) DoNext(lane);
  }
  void DoNext(Lane& lane) {
    lane.busy = !lane.waiting.empty();
    if (!lane.busy) return;
    auto [time, task] = std::move(lane.waiting.front());
    lane.waiting.pop_front();
    After(time, [this, &lane, task = std::move(task)] {
      task();
      if (alive_) DoNext(lane);
    });
  }

  // As the daemon: at the state's hour, and once a minute whatever it says.
  void Wake() {
    const int64_t number = ++wakes_;
    absl::Duration wait = absl::Minutes(1);
    if (state_.wake_at()) wait = std::min(wait, *state_.wake_at() - Now().monotonic);
    After(std::max(wait, absl::Milliseconds(1)), [this, number] {
      if (number == wakes_) Carry(state_.Tick(Now()));
    });
  }

  // What this institution masks in this attempt, made once more from what its
  // journal keeps.
  std::vector<uint32_t> WithoutMasks(const Contribution& kept) {
    const AttemptId& id = kept.id;
    const Federation& federation = Federation::Get();
    const auto plan = ParsePlan(ground_.plan.toml, "plan.toml");
    const auto model = BaseModelDescriptionFromJson(federation.model_json());
    const auto layout = ResolveTargets(*model, plan->adapter);
    const SecureAttempt attempt{.federation = federation.roster()->federation(),
                                .run = id.run,
                                .round = id.round,
                                .attempt = id.attempt,
                                .factors = kept.factors,
                                .evaluate_only = kept.evaluate_only,
                                .routing = *RoutingShapeOf(*model, plan->training)};
    const auto parameters = SecureSessionParameters(*plan, ground_.plan.toml, *layout,
                                                    federation.roster()->digest(), attempt);
    const Digest session = SessionId(*parameters);
    SessionJournal journal = ReadJournal();
    const auto secret = journal.Find(session);
    Check(secret.ok() && secret->has_value(), "the session is open");
    ValueRange range;
    range.Add(kept.delta);
    const auto vector =
        MaskedVector::Create(*MaskedLayoutOf(*plan, *layout, attempt),
                             {.values = std::make_shared<testing::ValuesInMemory>(kept.delta),
                              .range = range,
                              .adapter = *layout,
                              .factors = kept.factors},
                             {.weight = ContributionWeight(*plan, examples_),
                              .example_count = examples_,
                              .training_loss = kept.metrics.training_loss,
                              .steps = kept.metrics.steps,
                              .token_count = kept.metrics.token_count,
                              .routed_tokens = kept.metrics.routed_tokens},
                             RoundingKey((*secret)->round_secret, session));
    Check(vector.ok(), "what is masked can be made once more");
    std::vector<uint32_t> elements(static_cast<size_t>(vector->element_count()));
    Check(vector->Read(0, elements).ok(), "it lies in memory");
    return elements;
  }

  SimulatedClient& client_;
  Ground& ground_;
  const int64_t examples_;
  Log log_;
  bool alive_ = true;
  ClientState state_;
  std::optional<LocalWorkshop> workshop_;
  std::unique_ptr<SessionEnd> session_;
  std::shared_ptr<WorkControl> control_;
  Lane study_;
  Lane training_;
  Lane submission_;
  int64_t wakes_ = 0;
};

SimulatedClient::SimulatedClient(Institution institution, std::filesystem::path directory,
                                 Ground& ground, ClientSurroundings& surroundings)
    : institution_(std::move(institution)),
      directory_(std::move(directory)),
      ground_(ground),
      surroundings_(surroundings),
      clock_(ground.scheduler, absl::ZeroDuration()) {}

SimulatedClient::~SimulatedClient() = default;

void SimulatedClient::Start() {
  if (process_ != nullptr) return;
  ground_.Say(institution_.value, "process begins");
  process_ = std::make_shared<Process>(*this);
  process_->Begin();
}

void SimulatedClient::Crash() {
  if (process_ == nullptr) return;
  std::exchange(process_, nullptr)->End();
  surroundings_.Ended(institution_, directory_ / "journal.sqlite");
  RestartSoon();
}

void SimulatedClient::RestartSoon() {
  ground_.scheduler.After(ground_.draws.Between(absl::Milliseconds(200), absl::Seconds(20)),
                          [this] { Start(); });
}

void SimulatedClient::StepClock(absl::Duration by) {
  ground_.Say(institution_.value, fmt::format("time of day steps by {}", absl::FormatDuration(by)));
  clock_.StepBy(by);
}

}  // namespace fedtune::simulation
