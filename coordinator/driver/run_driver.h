// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/client_line.h"
#include "coordinator/driver/contribution_buffer.h"
#include "coordinator/driver/global_adapter.h"
#include "coordinator/driver/handed_in.h"
#include "coordinator/driver/journal_writer.h"
#include "coordinator/driver/masked_sum.h"
#include "coordinator/driver/next_in_store.h"
#include "coordinator/driver/roster.h"
#include "coordinator/driver/round_sum.h"
#include "coordinator/driver/run_clock.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/driver/run_watchers.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/driver/work_queue.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/run_store.h"
#include "coordinator/storage/spool.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {

// What all runs of a coordinator share. Outlives them.
struct RunSurroundings {
  RunStore& store;
  const Spool& spool;
  const Roster& roster;
  std::shared_ptr<const SigningRoster> signing_roster;  // Null: plain runs only.
  WorkQueue& work;
  TimerQueue& timers;
  const Clock& clock;
  Log& log;
  absl::Duration store_again;  // How long a store that is full or held is left alone.
  // Called once, without any lock, when a run has ended and that is stored.
  std::function<void(const RunId&)> on_ended;
};

// Carries out one run: passes it events and the time, stores what has changed,
// then sends. Contributions are verified as they arrive, kept in the spool before
// they are acknowledged, and added up when the round is complete; a release is made
// on a thread of the work queue and stored before anyone hears of it. A process that
// ends at any moment leaves enough for the next one to go on within the round. When
// the disk is full the run says so once in the log and waits until there is space; no
// deadline comes meanwhile.
// Thread-safe: one lock for the run and its sum.
class RunDriver : public std::enable_shared_from_this<RunDriver> {
 public:
  struct Parts {
    RunRecord record;
    Plan plan;
    AdapterLayout layout;
    RoutingShape routing;                  // Of the base model.
    std::optional<GlobalAdapter> adapter;  // The newest; always set.
    StoredOptimizerState optimizer;        // As it was after that one.
    std::optional<ResumePoint> resume;
    std::vector<std::string> journal;  // Of the open attempt, as stored.
    std::optional<ReleaseRecord> last_release;
  };

  static std::shared_ptr<RunDriver> Create(Parts parts, const RunSurroundings& surroundings);

  // Begins a new run, stored before any client hears of it, or goes on with one.
  // Until then all other calls but id() do nothing or fail.
  //
  // FAILED_PRECONDITION: fewer clients are connected than the quorum, or the plan
  // is secure and there is no signing roster.
  // ALREADY_EXISTS: a run with this id is stored. Other errors: of the store.
  absl::Status Begin();

  // Looks up in the roster whether the institution is connected. Also to be
  // called when a new line has replaced an old one.
  void ConnectionChanged(const Institution& institution);

  void Receive(const Institution& from, ClientEvent event);

  // As StopRequested; stored when it returns.
  //
  // FAILED_PRECONDITION: the run has not begun. Other errors: of the store; nothing has
  // changed.
  absl::Status Stop(std::string reason);

  // As PauseRequested and ResumeRequested; stored when they return. Repeating one
  // does nothing.
  //
  // FAILED_PRECONDITION: the run has not begun, has ended, or is in its final
  // evaluation. Other errors: of the store; nothing has changed.
  absl::Status Pause(std::string reason);
  absl::Status Resume();

  // As Run::CheckContribution().
  absl::StatusOr<Admission> CheckContribution(const Institution& from,
                                              const ContributionHeader& header) const;

  // Checks again, adds each to the round's sum and tells the run; each has its outcome
  // then, whatever becomes of the others. All are stored in one transaction, those of
  // calls on other threads that come meanwhile in the next one. Requires:
  // CheckContribution() accepted the headers before, and what was handed in is what
  // they promised; masked inputs have the root of their admission.
  //
  // Outcomes: INVALID_ARGUMENT: a value that is not finite. UNAVAILABLE: it cannot be
  // stored now. Else as CheckContribution().
  void Take(std::span<HandedIn* const> handed_in);

  // The same without waiting for the disk: `decided` of what was handed in is called on
  // a thread of the work queue; it must live until then.
  void TakeLater(HandedIn& handed);

  // A contribution could not be kept, as on a full disk; its client, whose upload `took` so
  // long, will offer it again. False: CheckContribution() would not accept it.
  bool CouldNotKeep(const Institution& from, const ContributionHeader& header, absl::Duration took,
                    const absl::Status& why);

  // The newest adapter, out of memory, if that is the one; counted as sent.
  std::optional<Blob> FetchAdapter(const Digest& digest);

  // Whether the plan admits the institution; asked without the lock.
  bool Admits(const Institution& institution) const;

  const RunId& id() const { return record_.id; }
  const AdapterLayout& layout() const { return layout_; }
  RingBits ring() const { return plan_.secure.ring; }
  // Requires: Begin() has succeeded.
  RunOverview overview() const;
  void Watch(std::weak_ptr<RunWatcher> watcher) { watchers_->Add(std::move(watcher)); }

 private:
  struct PendingRelease;

  // What an earlier process took for the open attempt.
  struct RestoredContribution {
    Institution from;
    ContributionHeader header;
    std::variant<VerifiedValues, std::shared_ptr<const MaskedElements>> what;
  };

  RunDriver(Parts parts, const RunSurroundings& surroundings);

  // Contributions on their way in; in run_contributions.cpp.
  std::optional<absl::StatusOr<Admission>> BringIn(HandedIn& handed) const;
  void Arrive(HandedIn& handed);
  void TakeArrived();
  std::vector<HandedIn*> NextTogether();

  // All that follow up to CarryOut: with mutex_ held.
  void TakeTogether(std::vector<HandedIn*> together);
  absl::StatusOr<Admission> Admit(HandedIn& handed) const;
  bool HasRoomBeside(const HandedIn& handed, int64_t its_weight, const VerifiedValues*& largest,
                     int64_t& weight) const;
  absl::Status CheckIsThere(const SpooledBytes& bytes) const;
  absl::Status StoreTaken(std::span<HandedIn* const> together, absl::Duration now);
  absl::StatusOr<Admission> Count(HandedIn& handed, absl::Duration now);
  ContributionRecord RecordOf(const Institution& from, const ContributionHeader& header,
                              const Admission& admission) const;
  void Follow(Effects effects, absl::Duration now);
  void StoreThenSend();
  absl::Status StoreChanges();
  void StoreEnding(const EndRun& end);

  // Of a run that goes on; in run_restore.cpp.
  absl::StatusOr<Run> GoOn(Run::Options options, absl::Duration now, Effects& effects);
  absl::StatusOr<std::vector<JournalEntry>> RestoreJournal(std::string& lost);
  absl::Status RestoreContribution(const JournalEntry& entry, Spool::OpenFiles& open);
  void AddRestored();
  void AddRestored(const VerifiedValues& values, ContributionRecord record);
  void AddRestored(const std::shared_ptr<const MaskedElements>& input, ContributionRecord record);
  void CheckNextRestored();
  void TellLost(const std::vector<Institution>& lost, const absl::Status& why);
  void Send(const Institution& institution, decltype(ClientCommand::what) what);
  void CarryOut(const Invite& effect);
  void CarryOut(const Assign& effect);
  void CarryOut(const CloseRound& effect);
  void CarryOut(const OpenAggregation& effect);
  void CarryOut(const Release& effect);
  void CarryOut(const SendSecureMessage& effect);
  void CarryOut(const ReportFault& effect);
  void CarryOut(const TellRunPaused& effect);
  void CarryOut(const TellRunEnded& effect);
  void CarryOut(const EndRun& effect);

  // Without the lock, on a thread of the work queue.
  void Lose(const SpooledValues& values, const absl::Status& why);
  void Lose(const MaskedElements& input, const absl::Status& why);
  void MakeRelease(const std::shared_ptr<PendingRelease>& pending);
  void MakeSecureRelease(const std::shared_ptr<PendingRelease>& pending);
  void KeepAdapter(const std::shared_ptr<PendingRelease>& pending);
  void MakeNext(const std::shared_ptr<PendingRelease>& pending);
  absl::Status WriteNext(PendingRelease& pending) const;
  void GiveUp(PendingRelease& pending, const absl::Status& why);
  void StoreRelease(const std::shared_ptr<PendingRelease>& pending);
  void TryAgainLater(const std::shared_ptr<PendingRelease>& pending, const absl::Status& why);
  void Publish(const PendingRelease& pending, const ReleaseRecord& record);

  // A large adapter that is stored is read from its file from now on: the system has
  // the memory back whenever it needs it.
  void LeaveInStore(GlobalAdapter& adapter) const;
  void TryToStore(const RunEnding& ending, bool again);

  // How time passes; in run_waiting.cpp. Only the last one without the lock: `then` is
  // called without it, too, on a thread of the work queue, and the run lives until then.
  void ArmTimer();
  void StandStill(absl::Duration span, const absl::Status& why);
  void TellWhenItGoesOn();
  void StandStillForTheStore(const absl::Status& why);
  absl::Duration Now() const { return run_clock_.At(around_.clock.Monotonic()); }
  void OnceTheStoreHasRested(std::function<void()> then);

  absl::Status SetPause(std::optional<std::string> pause);
  void Tick();
  void Receive(RunEvent event);
  void ReceiveLocked(RunEvent event);
  void StoreAnswers();
  void Warn(std::string_view event, const absl::Status& why);

  const RunSurroundings around_;
  const Plan plan_;
  const AdapterLayout layout_;
  const RoutingShape routing_;
  const std::shared_ptr<const RunTexts> texts_;
  const std::shared_ptr<RunWatchers> watchers_;

  std::mutex arrived_mutex_;
  std::vector<HandedIn*> arrived_;  // For TakeArrived().
  bool takes_arrived_ = false;      // Which is under way, or in the work queue.

  std::mutex queue_mutex_;       // Never held while something else is waited for.
  std::deque<HandedIn*> queue_;  // Contributions that wait for whoever has mutex_.

  mutable std::mutex mutex_;
  RunRecord record_;                      // Its id never changes and may be read without the lock.
  std::optional<ResumePoint> resume_;     // Until the run begins.
  std::vector<std::string> old_journal_;  // Likewise.
  std::optional<Run> run_;                // From then on.
  std::optional<GlobalAdapter> adapter_;  // The newest; none once the run has ended.
  JournalWriter journal_;
  SpoolPack pack_;              // Small contributions to the open attempt.
  Effects outbox_;              // To be carried out as soon as the journal is stored.
  bool store_refuses_ = false;  // A timer will try again.
  bool told_store_refuses_ = false;
  std::vector<RestoredContribution> restored_;   // Until they are in the sum.
  std::deque<std::function<void()>> unchecked_;  // Checks of those that have not been read yet.
  std::optional<RoundSum> sum_;                  // Of the open attempt.
  std::optional<MaskedSum> masked_sum_;          // The same of a secure run.
  std::optional<ReleaseRecord> last_release_;
  std::set<Institution> answered_;  // Whose answer is not stored yet.
  bool stored_answers_ = false;     // A moment ago; a timer goes on.
  RunClock run_clock_;
  std::string why_it_stands_still_;      // If it does.
  bool tells_when_it_goes_on_ = false;   // A timer will.
  std::optional<absl::Duration> armed_;  // When the timer calls Tick() next, on run_clock_.

  StoredOptimizerState optimizer_;  // Used by the one release at a time; no lock.
};

}  // namespace fedtune
