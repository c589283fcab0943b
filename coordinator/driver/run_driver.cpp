// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_driver.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/roster_setting.h"
#include "fmt/format.h"
#include "plan/secure_session.h"

namespace fedtune {
namespace {

constexpr absl::Duration kAnswersTogether = absl::Milliseconds(100);

// Adapters of so many bytes are not kept in memory of our own.
constexpr size_t kLargeAdapter = size_t{4} << 20;

RunTexts TextsOf(const RunRecord& record, const Plan& plan, const SigningRoster* roster) {
  const bool secure = plan.aggregation.mode == AggregationMode::kSecure && roster != nullptr;
  return {.plan_toml = record.plan_toml,
          .layout_json = record.layout_json,
          .base_digest = record.base_digest,
          .signing_roster = secure ? roster->text() : ""};
}

// A large adapter that is stored is read from its file from now on: the system has the
// memory back whenever it needs it.
void LeaveInStore(GlobalAdapter& adapter, const RunStore& store) {
  if (adapter.bytes().size() < kLargeAdapter) return;
  absl::StatusOr<Blob> stored = store.GetBlob(adapter.digest());
  if (!stored.ok() || stored->size() != adapter.bytes().size()) return;
  adapter = GlobalAdapter(*std::move(stored), adapter.digest());
}

// Rounds that burnt before it ended are not counted on.
std::string OfRetriedRun() {
  return ToBytes({.at = absl::ZeroDuration(), .what = BetweenRounds{.burnt_in_a_row = 0}});
}

bool Decides(const ClientEvent& event) {
  return std::holds_alternative<RunAccepted>(event) || std::holds_alternative<RunDeclined>(event);
}

}  // namespace

RunDriver::RunDriver(RunParts parts, const RunSurroundings& surroundings)
    : around_(surroundings),
      plan_(std::move(parts.plan)),
      layout_(std::move(parts.layout)),
      routing_(parts.routing),
      messages_(parts.record.id, TextsOf(parts.record, plan_, surroundings.signing_roster.get()),
                surroundings.lines, surroundings.log),
      log_(parts.record.id, surroundings.log),
      watchers_(std::make_shared<RunWatchers>(surroundings.timers)),
      time_(std::make_shared<RunTime>(surroundings.clock, surroundings.timers, watchers_)),
      record_(std::move(parts.record)),
      resume_(std::move(parts.resume)),
      old_journal_(std::move(parts.journal)),
      contributions_(around_.spool, record_.id),
      adapter_(std::move(parts.adapter)),
      optimizer_(std::move(parts.optimizer)),
      last_release_(std::move(parts.last_release)) {
  if (optimizer_.sums == nullptr) optimizer_.sums = SumsOf(*adapter_, optimizer_);
}

std::shared_ptr<RunDriver> RunDriver::Create(RunParts parts, const RunSurroundings& surroundings) {
  return std::shared_ptr<RunDriver>(new RunDriver(std::move(parts), surroundings));
}

absl::Status RunDriver::Begin() {
  const std::lock_guard lock(mutex_);
  const bool is_new = !resume_.has_value();
  const bool is_retried = resume_.has_value() && resume_->retried;
  Run::Options options{.id = id(),
                       .plan = plan_,
                       .layout = layout_,
                       .adapter = adapter_->digest(),
                       .connected = around_.lines.Connected(),
                       .resume = std::exchange(resume_, std::nullopt),
                       .routing = routing_};
  RETURN_IF_ERROR(CheckCanAggregate(plan_, around_.signing_roster.get()));
  if (plan_.aggregation.mode == AggregationMode::kSecure) {
    options.secure = SecureSettingOf(record_, plan_, *around_.signing_roster);
  }
  const absl::Duration now = time_->Now();
  Effects effects;
  ASSIGN_OR_RETURN(Run run, old_journal_.empty() ? Run::Start(std::move(options), now, effects)
                                                 : GoOn(std::move(options), now, effects));
  const RunView view = run.view();
  if (is_new) {
    RETURN_IF_ERROR(around_.store.Insert(record_, view.clients, adapter_->bytes()));
    LeaveInStore(*adapter_, around_.store);
  }
  if (is_retried) RETURN_IF_ERROR(around_.store.Reopen(id(), OfRetriedRun()));
  run_.emplace(std::move(run));
  log_.Begins(is_new       ? "run started"
              : is_retried ? "run is tried again"
                           : "run goes on",
              plan_.name, view);
  const bool is_journal_of_before = journal_.is_open();
  Follow(std::move(effects), now);
  if (is_journal_of_before) journal_.Note(now, NewProcess{});
  return absl::OkStatus();
}

absl::StatusOr<Run> RunDriver::GoOn(Run::Options options, absl::Duration now, Effects& effects) {
  const std::vector<std::string> stored = std::exchange(old_journal_, {});
  ResumePoint& point = *options.resume;
  absl::StatusOr<RestoredAttempt> attempt =
      RestoreAttempt(id(), plan_, stored, around_.spool, around_.log);
  absl::Status why = attempt.status();
  if (attempt.ok()) {
    point.journal = std::move(attempt->journal);
    point.lost = std::move(attempt->lost);
    restored_ = std::move(attempt->contributions);
    journal_.GoOn(now, point.journal.back().at, stored.size());
    absl::StatusOr<Run> run = Run::Start(options, now, effects);
    if (!absl::IsDataLoss(run.status())) return run;
    why = run.status();
  }
  log_.Warn("the round cannot go on where it was", why);
  journal_.Close();
  restored_.clear();
  effects.clear();
  point.journal.clear();
  return Run::Start(std::move(options), now, effects);
}

void RunDriver::ConnectionChanged(const Institution& institution) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return;
  const absl::Duration now = time_->Now();
  ClientEvent event = ClientDisconnected{};
  if (around_.lines.IsConnected(institution)) event = ClientConnected{};
  if (run_->Heeds(institution, event)) journal_.Note(now, ReceivedFromClient{institution, event});
  Follow(run_->Receive(institution, std::move(event), now), now);
}

bool RunDriver::Receive(const Institution& from, ClientEvent event) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return false;
  const bool decides = Decides(event);
  const absl::Duration now = time_->Now();
  const bool heeds = run_->Heeds(from, event);
  if (heeds) journal_.Note(now, ReceivedFromClient{from, event});
  Effects effects = run_->Receive(from, std::move(event), now);
  if (decides) {
    answered_.insert(from);
    StoreAnswers();
  }
  Follow(std::move(effects), now);
  return heeds;
}

// At once, or together with all others of a moment. A client whose answer is lost is
// asked again after a restart; nothing else depends on it.
void RunDriver::StoreAnswers() {
  if (stored_answers_ || answered_.empty()) return;
  std::vector<ClientView> clients;
  for (const Institution& institution : std::exchange(answered_, {})) {
    if (auto view = run_->ViewOf(institution)) clients.push_back(*std::move(view));
  }
  const absl::Status stored = around_.store.SaveClients(id(), clients);
  if (!stored.ok()) log_.Warn("clients' answers could not be stored", stored);
  stored_answers_ = true;
  around_.timers.After(kAnswersTogether, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->around_.work.Add([self] {
      const std::lock_guard lock(self->mutex_);
      self->stored_answers_ = false;
      self->StoreAnswers();
    });
  });
}

void RunDriver::Receive(RunEvent event) {
  const std::lock_guard lock(mutex_);
  if (run_.has_value()) ReceiveLocked(std::move(event));
}

void RunDriver::ReceiveLocked(RunEvent event) {
  const absl::Duration now = time_->Now();
  if (std::holds_alternative<ReleaseFailed>(event) ||
      std::holds_alternative<ContributionsLost>(event)) {
    journal_.Note(now, event);
  }
  Follow(run_->Receive(std::move(event), now), now);
}

absl::Status RunDriver::Stop(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return absl::FailedPreconditionError("the run has not begun");
  reason = ShortReason(std::move(reason));
  RETURN_IF_ERROR(around_.store.RequestStop(id(), reason));
  ReceiveLocked(StopRequested{std::move(reason)});
  return absl::OkStatus();
}

absl::Status RunDriver::Pause(std::string reason) {
  return SetPause(ShortReason(std::move(reason)));
}

absl::Status RunDriver::Resume() { return SetPause(std::nullopt); }

absl::Status RunDriver::SetPause(std::optional<std::string> pause) {
  const std::lock_guard lock(mutex_);
  if (!run_.has_value()) return absl::FailedPreconditionError("the run has not begun");
  if (HasEnded(run_->state())) return AlreadyEnded(id(), run_->state());
  if (pause.has_value() == record_.pause.has_value()) return absl::OkStatus();
  if (pause.has_value() && !run_->CanPause()) {
    return absl::FailedPreconditionError(fmt::format(
        "no round of {} is left to hold back: its final evaluation is going on", id().value));
  }
  RETURN_IF_ERROR(around_.store.SetPause(id(), pause));
  record_.pause = pause;
  if (pause.has_value()) {
    log_.Pauses(*pause);
    ReceiveLocked(PauseRequested{*std::move(pause)});
  } else {
    log_.Resumes();
    ReceiveLocked(ResumeRequested{});
  }
  return absl::OkStatus();
}

RunOverview RunDriver::overview() const {
  const std::lock_guard lock(mutex_);
  RunOverview overview;
  overview.record = record_;
  overview.last_release = last_release_;
  if (!run_.has_value()) return overview;
  overview.view = run_->view();
  if (overview.view.deadline.has_value()) {
    overview.time_left = std::max(*overview.view.deadline - time_->Now(), absl::ZeroDuration());
  }
  if (overview.view.reason.empty()) overview.view.reason = time_->WhyItStandsStill();
  return overview;
}

std::optional<Blob> RunDriver::FetchAdapter(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (!adapter_.has_value() || adapter_->digest() != digest) return std::nullopt;
  record_.traffic.bytes_sent += adapter_->bytes().size();
  return adapter_->blob();
}

bool RunDriver::Admits(const Institution& institution) const {
  const std::vector<std::string>& listed = plan_.rounds.institutions;
  return listed.empty() ||
         std::find(listed.begin(), listed.end(), institution.value) != listed.end();
}

void RunDriver::Follow(Effects effects, absl::Duration now) {
  record_.state = run_->state();
  for (Effect& effect : effects) {
    auto* open = std::get_if<OpenAggregation>(&effect);
    const bool is_new = open != nullptr && !open->restored;
    if (is_new || std::holds_alternative<EndRun>(effect)) WithholdUnstored();
    if (is_new) {
      open->opened.at = around_.clock.Now();
      journal_.Open(now, open->opened);
    }
    outbox_.push_back(std::move(effect));
  }
  StoreThenSend();
}

// Of an attempt that is over before its opening could be stored the audit log says nothing, and
// clients would look for it there in vain.
void RunDriver::WithholdUnstored() {
  const std::optional<JournalWriter::Attempt> unstored = journal_.unstored();
  if (!unstored.has_value()) return;
  std::erase_if(outbox_, [&](const Effect& effect) {
    if (const auto* assign = std::get_if<Assign>(&effect)) {
      return assign->assignment.round == unstored->round &&
             assign->assignment.attempt == unstored->attempt;
    }
    const auto* close = std::get_if<CloseRound>(&effect);
    return close != nullptr && close->round == unstored->round &&
           close->attempt == unstored->attempt;
  });
}

void RunDriver::StoreThenSend() {
  if (store_refuses_) return;
  if (!outbox_.empty() || journal_.is_long()) {
    const absl::Status stored = StoreChanges();
    if (!stored.ok()) return StoreLater(stored);
    told_store_refuses_ = false;
  }
  for (const Effect& effect : std::exchange(outbox_, {})) {
    std::visit([this](const auto& e) { CarryOut(e); }, effect);
  }
  ArmTimer();
  watchers_->Notify();
}

void RunDriver::StoreLater(const absl::Status& why) {
  if (!std::exchange(told_store_refuses_, true)) {
    log_.Warn("the run waits until its round's journal can be stored", why);
  }
  store_refuses_ = true;
  StandStillForTheStore(why);
  OnceTheStoreHasRested([this] {
    const std::lock_guard lock(mutex_);
    store_refuses_ = false;
    StoreThenSend();
  });
}

absl::Status RunDriver::StoreChanges() {
  for (const Effect& effect : outbox_) {
    if (const auto* end = std::get_if<EndRun>(&effect)) StoreEnding(*end);
  }
  return journal_.Store(around_.store, id());
}

void RunDriver::StoreEnding(const EndRun& end) {
  journal_.Close();
  contributions_.pack().Close();  // Before what it has on the disk is removed.
  record_.reason = end.reason;
  record_.ended_at = around_.clock.Now();
  adapter_.reset();
  answered_.clear();
  const RunView view = run_->view();
  TryToStore({.state = end.state,
              .reason = end.reason,
              .ended_at = *record_.ended_at,
              .clients = view.clients,
              .last_evaluation = view.last_evaluation,
              .traffic = record_.traffic},
             false);
}

void RunDriver::TryToStore(const RunEnding& ending, bool again) {
  const absl::Status stored = around_.store.End(id(), ending);
  if (!stored.ok()) {
    if (!again) log_.Warn("the run's end cannot be stored, trying until it can", stored);
    return OnceTheStoreHasRested([this, ending] { TryToStore(ending, true); });
  }
  around_.spool.Remove(id().value);
  around_.work.Add([self = shared_from_this()] { self->around_.on_ended(self->id()); });
}

void RunDriver::CarryOut(const OpenAggregation& effect) {
  if (!effect.restored) {
    around_.work.Add(contributions_.Forget());
    restored_.clear();
    unchecked_.clear();
  }
  contributions_.Open(SumFor(effect));
  AddRestored();
}

AttemptSum RunDriver::SumFor(const OpenAggregation& effect) const {
  const absl::Time opened_at = effect.opened.at;
  if (plan_.aggregation.mode == AggregationMode::kPlain) {
    if (effect.evaluate_only) return std::monostate{};
    return RoundSum(layout_, effect.factors, opened_at);
  }
  absl::StatusOr<MaskedLayout> layout = MaskedLayoutOf(
      plan_, layout_,
      {.factors = effect.factors, .evaluate_only = effect.evaluate_only, .routing = routing_});
  Check(layout.ok(), "a session was made with this layout");
  return MaskedSum(*std::move(layout), opened_at);
}

void RunDriver::CarryOut(const EndRun& effect) {
  contributions_.Close();
  log_.Ends(effect);
}

}  // namespace fedtune
