// SPDX-License-Identifier: Apache-2.0

#include "simulation/hub.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/driver.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/rpc/training_conversion.h"
#include "coordinator/storage/forwarding_store.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_database.h"
#include "simulation/virtual_clock.h"
#include "simulation/virtual_queues.h"

namespace fedtune::simulation {
namespace {

ClientRecord RecordOf(const std::string& client) {
  ClientRecord record;
  record.institution.value = client;
  return record;
}

// Sees attempts open and rounds end on their way to the disk.
class WatchedStore final : public ForwardingStore {
 public:
  WatchedStore(RunStore& disk, std::function<void(const ReleasedRound&)> on_released)
      : ForwardingStore(disk), on_released_(std::move(on_released)) {}

  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
    ASSIGN_OR_RETURN(const JournalEntry opening, JournalEntryFromBytes(entry));
    cohort_ = 0;
    for (const auto& member : std::get<AttemptOpened>(opening.what).members) {
      cohort_ += member.in_cohort ? 1 : 0;
    }
    return ForwardingStore::OpenJournal(id, attempt, entry);
  }
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    RETURN_IF_ERROR(ForwardingStore::SaveRelease(id, release));
    const RoundSummary& summary = release.record.summary;
    on_released_({.round = summary.round,
                  .attempt = summary.attempt,
                  .cohort = cohort_,
                  .contributions = summary.contributions,
                  .training_loss = summary.training_loss,
                  .duration = release.record.ended_at - release.record.started_at,
                  .adapter = release.record.adapter,
                  .burnt = summary.burnt});
    return absl::OkStatus();
  }
  absl::Status End(const RunId& id, const RunEnding& ending) override {
    RETURN_IF_ERROR(ForwardingStore::End(id, ending));
    ending_ = ending;
    return absl::OkStatus();
  }

  // None while the run goes on.
  const std::optional<RunEnding>& ending() const { return ending_; }

 private:
  const std::function<void(const ReleasedRound&)> on_released_;
  int64_t cohort_ = 0;
  std::optional<RunEnding> ending_;
};

// All invitations of a run are one message.
class Line final : public ClientLine {
 public:
  using Shared =
      std::pair<std::shared_ptr<const RunTexts>, std::shared_ptr<const v1::CoordinatorMessage>>;

  Line(CoordinatorPort::Ear heard, Shared& invitation)
      : heard_(std::move(heard)), invitation_(invitation) {}

  void Send(const ClientCommand& command) override {
    const auto* invitation = std::get_if<RunInvitation>(&command.what);
    if (invitation == nullptr) {
      return heard_(std::make_shared<const v1::CoordinatorMessage>(ToMessage(command)));
    }
    if (invitation_.first != invitation->texts) {
      invitation_ = {invitation->texts,
                     std::make_shared<const v1::CoordinatorMessage>(ToMessage(command))};
    }
    heard_(invitation_.second);
  }
  void Close(absl::Status) override {}
  void Abandon(absl::Status) override {}

 private:
  const CoordinatorPort::Ear heard_;
  Shared& invitation_;
};

class RealHub final : public Hub {
 public:
  RealHub(HubOptions options, Scheduler& scheduler, std::unique_ptr<const ProcessClock> clock,
          const std::shared_ptr<StateDatabase>& state, std::unique_ptr<SqliteRunStore> runs,
          Spool spool)
      : options_(std::move(options)),
        scheduler_(scheduler),
        own_clock_(std::move(clock)),
        clock_(*own_clock_),
        log_([](std::string_view) {}),
        disk_(std::move(runs)),
        store_(*disk_, options_.on_released),
        federation_(state),
        spool_(std::move(spool)),
        driver_({.run_store = store_,
                 .federation_store = federation_,
                 .spool = spool_,
                 .signing_roster = options_.roster,
                 .clock = clock_,
                 .log = log_},
                Queues()) {}

  absl::Status Resume() { return driver_.runs.ResumeAll(); }

  absl::Status StartRun() override {
    ASSIGN_OR_RETURN(RunParts parts, PartsOfNewRun({.request_id = "simulation",
                                                    .plan_toml = options_.plan_toml,
                                                    .base_model_json = options_.base_model_json,
                                                    .started_by = "simulation"},
                                                   kRun, federation_, clock_.Now()));
    return driver_.runs.Start(std::move(parts)).status();
  }

  std::string state() const override {
    return store_.ending().has_value() ? std::string(ToString(store_.ending()->state)) : "";
  }
  std::string reason() const override {
    return store_.ending().has_value() ? store_.ending()->reason : "";
  }

  const Times& transitions() const override { return transitions_; }
  const Times& works() const override { return works_; }

  // ---- CoordinatorPort ----

  void Connect(const std::string& client, Ear heard) override {
    heard(std::make_shared<const v1::CoordinatorMessage>(
        WelcomeMessage("simulation", {client}, driver_.gateway.RunsUnderWayFor({client}))));
    auto line = std::make_shared<Line>(std::move(heard), invitation_);
    lines_[client] = line;
    Timed(transitions_, [&] { driver_.gateway.Connect(RecordOf(client), line); });
  }

  void Disconnect(const std::string& client) override {
    const auto line = lines_.extract(client);
    if (line.empty()) return;
    Timed(transitions_, [&] { driver_.gateway.Disconnect(RecordOf(client), line.mapped().get()); });
  }

  void Receive(const std::string& client, const v1::ClientMessage& message) override {
    absl::StatusOr<RunClientEvent> event = FromMessage(message);
    Check(event.ok(), "a client's message can be read");
    Timed(transitions_, [&] {
      driver_.gateway.Receive(Institution{client}, event->run, std::move(event->event));
    });
  }

  absl::StatusOr<std::string> Fetch(const Digest& digest) override {
    ASSIGN_OR_RETURN(const Blob blob, driver_.gateway.FetchBlob(digest));
    return std::string(reinterpret_cast<const char*>(blob.bytes().data()), blob.size());
  }

  // As rpc/contribution_upload.h.
  absl::Status Submit(const std::string& client, const v1::ContributionHeader& header,
                      std::string_view bytes) override {
    const Institution from{client};
    ASSIGN_OR_RETURN(const SubmittedHeader submitted, FromMessage(header));
    const auto& [run, head] = submitted;
    ASSIGN_OR_RETURN(const Admission admission, driver_.gateway.CheckContribution(from, run, head));
    if (admission.repeated) return absl::OkStatus();
    absl::Status taken = admission.chunk_root.has_value()
                             ? TakeMasked(from, submitted, *admission.chunk_root, bytes)
                             : TakePlain(from, submitted, bytes);
    if (absl::IsInvalidArgument(taken) || absl::IsOutOfRange(taken)) {
      driver_.gateway.ContributionRefused(from, run, head, taken);
    }
    return taken;
  }

 private:
  inline static const RunId kRun{"run-0001"};
  static constexpr size_t kMostWaiting = 32;
  static constexpr absl::Duration kDiskTime = absl::Milliseconds(20);

  template <typename F>
  void Timed(Times& times, F what) {
    const absl::Duration begun = machine_.Monotonic();
    what();
    times.Add(machine_.Monotonic() - begun);
  }

  ActiveRuns::Queues Queues() {
    const auto at_once = [] { return absl::ZeroDuration(); };
    return {.work = std::make_unique<VirtualWorkQueue>(
                scheduler_, at_once, [this](const auto& what) { Timed(works_, what); }),
            .timers = std::make_unique<VirtualTimerQueue>(
                scheduler_, clock_.since(), at_once,
                [this](const auto& what) { Timed(transitions_, what); })};
  }

  absl::Status TakePlain(const Institution& from, const SubmittedHeader& submitted,
                         std::string_view bytes) {
    ASSIGN_OR_RETURN(ContributionBuffer buffer,
                     driver_.gateway.NewBuffer(from, submitted.run, submitted.header));
    RETURN_IF_ERROR(buffer.Append(0, bytes));
    ASSIGN_OR_RETURN(VerifiedValues values, std::move(buffer).Finish());
    return HandIn(submitted.run,
                  {.from = from, .header = submitted.header, .what = std::move(values)});
  }

  absl::Status TakeMasked(const Institution& from, const SubmittedHeader& submitted,
                          const Digest& root, std::string_view bytes) {
    ASSIGN_OR_RETURN(MaskedInput input,
                     driver_.gateway.NewMaskedInput(from, submitted.run, submitted.header));
    RETURN_IF_ERROR(input.Append(0, bytes));
    ASSIGN_OR_RETURN(auto elements, std::move(input).Finish(root));
    return HandIn(submitted.run, {.from = from, .header = submitted.header, .what = elements});
  }

  // What comes while the disk is busy is stored together. Those who wait do so within
  // each other, and the last one to come brings all.
  absl::Status HandIn(const RunId& run, HandedIn handed) {
    joined_.push_back(&handed);
    if (waiting_ < kMostWaiting) {
      ++waiting_;
      scheduler_.Pause(kDiskTime);
      --waiting_;
    }
    if (!handed.outcome.has_value()) {
      Timed(transitions_, [&] { driver_.gateway.Take(run, std::exchange(joined_, {})); });
    }
    const absl::Status outcome = handed.outcome->status();
    return absl::IsAborted(outcome) ? absl::UnavailableError(outcome.message()) : outcome;
  }

  const HubOptions options_;
  Scheduler& scheduler_;
  const std::unique_ptr<const ProcessClock> own_clock_;
  const ProcessClock& clock_;
  const SystemClock machine_ = {};
  Times transitions_;
  Times works_;
  Log log_;
  const std::unique_ptr<SqliteRunStore> disk_;
  WatchedStore store_;
  SqliteFederationStore federation_;
  const Spool spool_;
  Line::Shared invitation_;
  std::map<std::string, std::shared_ptr<Line>> lines_;
  std::vector<HandedIn*> joined_;  // What has come, and is not stored.
  size_t waiting_ = 0;
  Driver driver_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Hub>> Hub::Open(HubOptions options, Scheduler& scheduler) {
  RETURN_IF_ERROR(MakeDirectories(options.state));
  ASSIGN_OR_RETURN(const std::shared_ptr<StateDatabase> state,
                   OpenStateDatabase(options.state / kDatabaseName));
  auto clock = std::make_unique<const ProcessClock>(scheduler, absl::ZeroDuration());
  ASSIGN_OR_RETURN(
      std::unique_ptr<SqliteRunStore> runs,
      SqliteRunStore::Open(state, {.blobs = options.state / kBlobsName, .clock = clock.get()}));
  ASSIGN_OR_RETURN(Spool spool, Spool::Open(options.state / kSpoolName));
  auto hub = std::make_unique<RealHub>(std::move(options), scheduler, std::move(clock), state,
                                       std::move(runs), std::move(spool));
  RETURN_IF_ERROR(hub->Resume());
  return hub;
}

}  // namespace fedtune::simulation
