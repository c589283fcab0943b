// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/simulated_coordinator.h"

#include <cstring>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/driver.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/rpc/training_conversion.h"
#include "coordinator/storage/federation_store.h"
#include "simulation/virtual_queues.h"
#include "tests/simulation/federation.h"

namespace fedtune::simulation {
namespace {

constexpr int64_t kTries = 30;

absl::Status Gone() { return absl::UnavailableError("nobody answers"); }

ClientRecord RecordOf(const Institution& client) {
  ClientRecord record;
  record.institution = client;
  return record;
}

const std::filesystem::path& Made(const std::filesystem::path& directory) {
  std::filesystem::create_directory(directory);
  return directory;
}

Spool OpenSpool(const std::filesystem::path& directory) {
  absl::StatusOr<Spool> spool = Spool::Open(directory);
  Check(spool.ok(), Message(spool.status()));
  return *std::move(spool);
}

// Between two rounds there is a journal, too.
bool HasAttempt(const std::vector<std::string>& journal) {
  if (journal.empty()) return false;
  const absl::StatusOr<JournalEntry> first = JournalEntryFromBytes(journal.front());
  return !first.ok() || !std::holds_alternative<BetweenRounds>(first->what);
}

// As a client that goes on where an earlier call was cut off.
template <typename Destination>
absl::Status AppendTo(Destination& destination, std::string_view bytes) {
  const uint64_t received = destination.received();
  if (received > bytes.size()) return absl::OkStatus();
  return destination.Append(received, bytes.substr(received));
}

// What is known of clients is not what is tried here.
class NoFederationStore final : public FederationStore {
 public:
  absl::Status SaveClients(const std::vector<ClientRecord>&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<ClientRecord>> Clients() const override {
    return std::vector<ClientRecord>();
  }
  absl::Status SaveModel(const ModelRecord&) override { return absl::OkStatus(); }
  absl::StatusOr<std::optional<ModelRecord>> FindModel(std::string_view) const override {
    return std::nullopt;
  }
  absl::StatusOr<std::vector<ModelRecord>> Models() const override {
    return std::vector<ModelRecord>();
  }
};

}  // namespace

class SimulatedCoordinator::ToldLine final : public ClientLine {
 public:
  ToldLine(SimulatedCoordinator& machine, Institution client, Line line)
      : machine_(machine), client_(std::move(client)), line_(std::move(line)) {}

  void Send(const ClientCommand& command) override {
    machine_.EndHereAtTimes(machine_.ground_.plan.faults.crash_at_send, "before it could send");
    ClientCommand said = command;
    machine_.doubles_.Telling(said);
    v1::CoordinatorMessage message = ToMessage(said);
    machine_.auditor_.Told(client_, message);
    line_.tell(std::move(message));
  }
  void Close(absl::Status) override { line_.close(); }
  void Abandon(absl::Status) override { line_.close(); }

 private:
  SimulatedCoordinator& machine_;
  const Institution client_;
  const Line line_;
};

struct SimulatedCoordinator::Process {
  Process(SimulatedCoordinator& machine, RunStore& its_store)
      : clock(machine.ground_.scheduler,
              machine.ground_.draws.Between(absl::ZeroDuration(), absl::Hours(100))),
        log([&ground = machine.ground_](std::string_view line) { ground.Say(kHub, line); }),
        store(its_store),
        spool(OpenSpool(machine.uploads_)) {}

  ProcessClock clock;
  Log log;
  RunStore& store;
  const Spool spool;
  NoFederationStore federation_store;
  std::optional<Driver> driver;
};

SimulatedCoordinator::SimulatedCoordinator(Ground& ground, Auditor& auditor, Doubles& doubles,
                                           std::filesystem::path uploads)
    : ground_(ground),
      auditor_(auditor),
      doubles_(doubles),
      uploads_(std::move(uploads)),
      spool_disk_(Made(uploads_)),
      disk_([this](const NewRelease& release) { auditor_.Released(release); }),
      faulty_(ground, auditor, doubles_.Store(disk_),
              [this](std::string_view where) {
                EndHereAtTimes(ground_.plan.faults.crash_at_store, where);
              }),
      retries_left_(ground.plan.faults.retries),
      tries_left_(retries_left_ * kTries) {
  if (doubles_.LosesSyncs()) spool_disk_.LoseSyncs();
  auditor_.disk = [this]() -> std::optional<RunRecord> {
    const auto run = disk_.Get(kRun);
    return run.ok() ? std::optional(*run) : std::nullopt;
  };
  auditor_.view = [this] { return View(); };
}

SimulatedCoordinator::~SimulatedCoordinator() = default;

// As the living process; it may end in the middle.
template <typename F>
auto SimulatedCoordinator::Do(F what) -> decltype(what(std::declval<Process&>())) {
  const std::shared_ptr<Process> process = process_;
  if (process == nullptr) return Gone();
  try {
    return what(*process);
  } catch (const ProcessEnded&) {
    return Gone();
  }
}

void SimulatedCoordinator::Do(const std::shared_ptr<Process>& process,
                              const std::function<void()>& what) {
  if (process == nullptr || process != process_) return;
  try {
    what();
  } catch (const ProcessEnded&) {
  }
}

void SimulatedCoordinator::EndHereAtTimes(double likelihood, std::string_view where) {
  if (!ground_.Happens(likelihood)) return;
  if (ground_.draws.Chance(0.5)) {
    CutPower(where);
  } else {
    Crash(where);
  }
  throw ProcessEnded();
}

// What is done for a process that has ended is not.
ActiveRuns::Queues SimulatedCoordinator::QueuesOf(const std::shared_ptr<Process>& process) {
  const Performer perform = [this, weak = std::weak_ptr(process)](const auto& what) {
    Do(weak.lock(), what);
  };
  const auto up_to = [this](absl::Duration least, absl::Duration most) {
    return [this, least, most] { return ground_.draws.Between(least, most); };
  };
  return {.work = std::make_unique<VirtualWorkQueue>(
              ground_.scheduler, up_to(absl::Milliseconds(1), absl::Milliseconds(200)), perform),
          .timers = doubles_.Timers(std::make_unique<VirtualTimerQueue>(
              ground_.scheduler, process->clock.since(),
              up_to(absl::ZeroDuration(), absl::Milliseconds(9)), perform))};
}

void SimulatedCoordinator::Start() {
  if (process_ != nullptr) return;
  ++generation_;
  ground_.Say(kHub, "process begins");
  process_ = std::make_shared<Process>(*this, faulty_);
  Process& process = *process_;
  process.driver.emplace(Driver::Foundation{.run_store = process.store,
                                            .federation_store = process.federation_store,
                                            .spool = process.spool,
                                            .signing_roster = Federation::Get().roster(),
                                            .clock = process.clock,
                                            .log = process.log},
                         QueuesOf(process_));
  const std::optional<RunRecord> before = auditor_.disk();
  const bool is_open = before.has_value() && HasAttempt(*disk_.Journal(kRun));
  const bool may_be_over = faulty_.BeginProcess();
  const absl::Status resumed = Do([](Process& p) { return p.driver->runs.ResumeAll(); });
  auditor_.Excuse(ground_.scheduler.now());
  if (resumed.ok() && process_ != nullptr) {
    auditor_.Restarted(is_open ? std::optional(before->attempts_opened) : std::nullopt,
                       before.has_value() ? before->rounds_done : 0, may_be_over);
  }
  if (resumed.ok() || process_ == nullptr) return;
  Crash(Message(resumed));
}

void SimulatedCoordinator::Crash(std::string_view where) {
  if (process_ == nullptr) return;
  ground_.Say(kHub, fmt::format("process ends {}", where));
  ended_.push_back(std::exchange(process_, nullptr));
  joined_.clear();
  doubles_.CoordinatorEnded();
  ground_.scheduler.After(ground_.draws.Between(absl::Milliseconds(200), absl::Seconds(15)),
                          [this] { Start(); });
}

void SimulatedCoordinator::CutPower(std::string_view where) {
  if (process_ == nullptr) return;
  Crash(fmt::format("by a power cut {}", where));
  spool_disk_.CutPower(ground_.draws.Next());
  if (doubles_.LosesSyncs()) spool_disk_.LoseSyncs();
}

std::optional<RunView> SimulatedCoordinator::View() {
  if (process_ == nullptr) return std::nullopt;
  const std::shared_ptr<RunDriver> run = process_->driver->runs.Find(kRun);
  return run == nullptr ? std::nullopt : std::optional(run->overview().view);
}

bool SimulatedCoordinator::has_ended() const {
  const auto run = disk_.Get(kRun);
  return run.ok() && HasEnded(run->state);
}

bool SimulatedCoordinator::is_over() const {
  const auto run = disk_.Get(kRun);
  if (!run.ok() || !HasEnded(run->state)) return false;
  return run->state == RunState::kFinished || retries_left_ == 0 || tries_left_ == 0;
}

// ---- Administrators ----

void SimulatedCoordinator::StartRun() {
  if (disk_.Get(kRun).ok()) return;
  const absl::Status started = Do([this](Process& process) -> absl::Status {
    ASSIGN_OR_RETURN(RunParts parts,
                     PartsOfNewRun({.request_id = "first",
                                    .plan_toml = ground_.plan.toml,
                                    .base_model_json = Federation::Get().model_json(),
                                    .started_by = "grace"},
                                   kRun, process.federation_store, process.clock.Now()));
    const auto values = parts.adapter->values();
    auditor_.Started(parts.record, {values.begin(), values.end()});
    return process.driver->runs.Start(std::move(parts)).status();
  });
  ground_.Say("grace", fmt::format("starts the run: {}", started.ok() ? "done" : Message(started)));
  if (!started.ok()) ground_.scheduler.After(absl::Seconds(2), [this] { StartRun(); });
}

void SimulatedCoordinator::StopRun() {
  const absl::Status stopped = Do([](Process& process) -> absl::Status {
    if (process.driver->runs.Find(kRun) == nullptr)
      return absl::NotFoundError("it is not under way");
    return process.driver->administration.Stop(kRun, "it costs too much").status();
  });
  ground_.Say("grace", fmt::format("stops the run: {}", stopped.ok() ? "done" : Message(stopped)));
  if (stopped.ok()) auditor_.Stopped();
}

void SimulatedCoordinator::PauseRun() {
  const absl::StatusOr<RunOverview> paused = Do([](Process& process) {
    return process.driver->administration.Pause(kRun, "the site moves");
  });
  ground_.Say("grace",
              fmt::format("pauses the run: {}", paused.ok() ? "done" : Message(paused.status())));
  if (!paused.ok()) return;
  const RunView& view = paused->view;
  auditor_.Paused(view.rounds_done - (view.state == RunState::kPaused ? 1 : 0));
}

void SimulatedCoordinator::ResumeRun() {
  if (has_ended()) return;
  auditor_.Resumes();
  const absl::Status resumed =
      Do([](Process& process) { return process.driver->administration.Resume(kRun); }).status();
  ground_.Say("grace",
              fmt::format("resumes the run: {}", resumed.ok() ? "done" : Message(resumed)));
  if (!resumed.ok()) ground_.scheduler.After(absl::Seconds(2), [this] { ResumeRun(); });
}

void SimulatedCoordinator::RetryRun() {
  if (is_over() || !has_ended()) return;
  --tries_left_;
  const absl::Status retried =
      Do([](Process& process) { return process.driver->administration.Retry(kRun); }).status();
  ground_.Say("grace",
              fmt::format("tries the run again: {}", retried.ok() ? "done" : Message(retried)));
  if (has_ended()) return ground_.scheduler.After(absl::Seconds(5), [this] { RetryRun(); });
  --retries_left_;
}

// ---- Clients ----

std::shared_ptr<ClientLine> SimulatedCoordinator::Connect(const Institution& client, Line line) {
  const std::shared_ptr<Process> process = process_;
  Do(process, [&] {
    v1::CoordinatorMessage welcome =
        WelcomeMessage("", client, process->driver->gateway.RunsUnderWayFor(client));
    doubles_.Welcoming(*welcome.mutable_welcome());
    auditor_.Told(client, welcome);
    line.tell(std::move(welcome));
  });
  auto told = std::make_shared<ToldLine>(*this, client, std::move(line));
  Do(process, [&] { process->driver->gateway.Connect(RecordOf(client), told); });
  return told;
}

void SimulatedCoordinator::Disconnect(const Institution& client, const ClientLine* line) {
  const std::shared_ptr<Process> process = process_;
  Do(process, [&] { process->driver->gateway.Disconnect(RecordOf(client), line); });
}

void SimulatedCoordinator::Receive(const Institution& client, const v1::ClientMessage& message) {
  absl::StatusOr<RunClientEvent> event = FromMessage(message);
  Check(event.ok(), Message(event.status()));
  const std::shared_ptr<Process> process = process_;
  Do(process,
     [&] { process->driver->gateway.Receive(client, event->run, std::move(event->event)); });
}

absl::StatusOr<std::string> SimulatedCoordinator::Fetch(const Digest& digest) {
  return Do([&](Process& process) -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const Blob blob, process.driver->gateway.FetchBlob(digest));
    return std::string(reinterpret_cast<const char*>(blob.bytes().data()), blob.size());
  });
}

// ---- Contributions ----

class SimulatedCoordinator::Upload {
 public:
  Institution from;
  std::shared_ptr<Process> process;  // That it began with.
  SubmittedHeader submitted;
  Digest sha256;  // As the client has said it.
  bool repeated = false;
  std::optional<ContributionBuffer> buffer;
  std::optional<MaskedInput> masked;
  Digest chunk_root;
};

absl::StatusOr<std::shared_ptr<SimulatedCoordinator::Upload>> SimulatedCoordinator::Begin(
    const Institution& from, v1::ContributionHeader header) {
  return Do([&](Process& process) -> absl::StatusOr<std::shared_ptr<Upload>> {
    auto upload = std::make_shared<Upload>();
    upload->from = from;
    upload->process = process_;
    ASSIGN_OR_RETURN(upload->submitted, FromMessage(header));
    ContributionHeader& head = upload->submitted.header;
    upload->sha256 = head.sha256;
    if (const std::optional<RunView> view = View()) doubles_.Arriving(head, *view);
    ASSIGN_OR_RETURN(const Admission admission,
                     process.driver->gateway.CheckContribution(from, upload->submitted.run, head));
    upload->repeated = admission.repeated;
    if (admission.repeated) return upload;
    if (admission.chunk_root.has_value()) {
      upload->chunk_root = *admission.chunk_root;
      ASSIGN_OR_RETURN(upload->masked,
                       process.driver->gateway.NewMaskedInput(from, upload->submitted.run, head));
    } else {
      ASSIGN_OR_RETURN(upload->buffer,
                       process.driver->gateway.NewBuffer(from, upload->submitted.run, head));
    }
    return upload;
  });
}

absl::Status SimulatedCoordinator::Finish(Upload& upload, std::string_view bytes, bool whole) {
  if (upload.process != process_) return Gone();
  if (upload.repeated) return absl::OkStatus();
  return Do([&](Process& process) -> absl::Status {
    const absl::Status taken =
        upload.masked.has_value() ? TakeMasked(upload, bytes) : TakePlain(upload, bytes, whole);
    const bool for_good = absl::IsInvalidArgument(taken) || absl::IsOutOfRange(taken);
    if (for_good && whole) {
      process.driver->gateway.ContributionRefused(upload.from, upload.submitted.run,
                                                  upload.submitted.header, taken);
    }
    return absl::IsAborted(taken) ? absl::UnavailableError(taken.message()) : taken;
  });
}

absl::Status SimulatedCoordinator::TakeMasked(Upload& upload, std::string_view bytes) {
  RETURN_IF_ERROR(AppendTo(*upload.masked, bytes));
  ASSIGN_OR_RETURN(auto elements, (*std::move(upload.masked)).Finish(upload.chunk_root));
  return HandIn({.from = upload.from, .header = upload.submitted.header, .what = elements});
}

absl::Status SimulatedCoordinator::TakePlain(Upload& upload, std::string_view bytes, bool whole) {
  const auto& [run, head] = upload.submitted;
  std::vector<float> arrived(bytes.size() / sizeof(float));
  if (!arrived.empty()) std::memcpy(arrived.data(), bytes.data(), arrived.size() * sizeof(float));
  if (whole && doubles_.Arrived(head, arrived)) {
    ContributionHeader other = head;
    other.sha256 = Sha256Of(ValueBytes(arrived));
    bytes = ValueBytes(arrived);
    ASSIGN_OR_RETURN(upload.buffer, process_->driver->gateway.NewBuffer(upload.from, run, other));
  }
  RETURN_IF_ERROR(AppendTo(*upload.buffer, bytes));
  ASSIGN_OR_RETURN(VerifiedValues values, (*std::move(upload.buffer)).Finish());
  return HandIn({.from = upload.from, .header = head, .what = std::move(values)});
}

// Whoever has waited long enough brings all that have come meanwhile.
absl::Status SimulatedCoordinator::HandIn(HandedIn handed) {
  joined_.push_back(&handed);
  if (ground_.Happens(ground_.plan.faults.joined)) {
    const std::shared_ptr<Process> process = process_;
    ground_.scheduler.Pause(ground_.draws.Between(absl::Milliseconds(10), absl::Seconds(5)));
    if (process != process_) throw ProcessEnded();
  }
  if (!handed.outcome.has_value()) {
    process_->driver->gateway.Take(kRun, std::exchange(joined_, {}));
  }
  return handed.outcome->status();
}

}  // namespace fedtune::simulation
