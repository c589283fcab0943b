// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/driver/contributions/attempt_contributions.h"
#include "coordinator/driver/contributions/contribution_queue.h"
#include "coordinator/driver/contributions/handed_in.h"
#include "coordinator/driver/contributions/restored_attempt.h"
#include "coordinator/driver/journal_writer.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/release/pending_release.h"
#include "coordinator/driver/release/stored_optimizer_state.h"
#include "coordinator/driver/run_log.h"
#include "coordinator/driver/run_messages.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/driver/run_time.h"
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
  const ClientLines& lines;
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
  static std::shared_ptr<RunDriver> Create(RunParts parts, const RunSurroundings& surroundings);

  // Begins a new run, stored before any client hears of it, or goes on with one.
  // Until then all other calls but id() do nothing or fail.
  //
  // FAILED_PRECONDITION: fewer clients are connected than the quorum, or the plan
  // is secure and there is no signing roster.
  // ALREADY_EXISTS: a run with this id is stored. Other errors: of the store.
  absl::Status Begin();

  // Looks up among the lines whether the institution is connected. Also to be
  // called when a new line has replaced an old one.
  void ConnectionChanged(const Institution& institution);

  // As Run::Receive(). Whether it changes more than what is shown of the client's progress.
  bool Receive(const Institution& from, ClientEvent event);

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

  // Where contributions lie while they come, and until their round is released.
  // Thread-safe.
  SpoolPack& pack() { return contributions_.pack(); }

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
  RunDriver(RunParts parts, const RunSurroundings& surroundings);

  // With mutex_ held.
  absl::StatusOr<Run> GoOn(Run::Options options, absl::Duration now, Effects& effects);
  void ReceiveLocked(RunEvent event);
  void StoreAnswers();
  void Follow(Effects effects, absl::Duration now);
  void WithholdUnstored();
  void StoreThenSend();
  void StoreLater(const absl::Status& why);
  absl::Status StoreChanges();
  void StoreEnding(const EndRun& end);
  template <typename Message>
  void CarryOut(const Message& effect) {
    messages_.Send(effect);
  }
  void CarryOut(const OpenAggregation& effect);
  void CarryOut(const Release& effect);
  void CarryOut(const ReportFault& effect) { log_.Fault(effect); }
  void CarryOut(const ReportSuspect& effect) { log_.Suspect(effect); }
  void CarryOut(const EndRun& effect);
  AttemptSum SumFor(const OpenAggregation& effect) const;

  // Without it.
  void Receive(RunEvent event);
  absl::Status SetPause(std::optional<std::string> pause);

  // With it or without.
  void TryToStore(const RunEnding& ending, bool again);
  void StandStillForTheStore(const absl::Status& why);
  // Has `then` called on a thread of the work queue, without the lock.
  void OnceTheStoreHasRested(std::function<void()> then);

  // Its deadlines: the first one with mutex_ held, the other, which the timer calls, without.
  void ArmTimer();
  void Tick();

  // Contributions on their way in, without mutex_; in run_contributions.cpp, as all of them.
  std::optional<absl::StatusOr<Admission>> BringIn(HandedIn& handed) const;
  void Arrive(HandedIn& handed);
  void TakeArrived();

  // With it.
  void TakeTogether(std::vector<HandedIn*> together);
  absl::StatusOr<Admission> Admit(const HandedIn& handed) const;
  absl::Status StoreTaken(std::span<HandedIn* const> together, absl::Duration now);
  absl::StatusOr<Admission> Count(HandedIn& handed, absl::Duration now);

  // Those of an earlier process, likewise.
  void AddRestored();
  void CheckNextRestored();
  void Lose(const ContributionBody& body, const absl::Status& why);

  // A release, without the lock, on a thread of the work queue; in run_release.cpp.
  void MakeRelease(const std::shared_ptr<PendingRelease>& pending, bool again);
  void TryAgainLater(const std::shared_ptr<PendingRelease>& pending, bool again,
                     const absl::Status& why);
  void AskAgain(PendingRelease& pending, PendingRelease::LostSome lost);
  void Publish(const PendingRelease& pending, const ReleaseRecord& record);

  const RunSurroundings around_;
  const Plan plan_;
  const AdapterLayout layout_;
  const RoutingShape routing_;
  const RunMessages messages_;
  const RunLog log_;
  const std::shared_ptr<RunWatchers> watchers_;
  const std::shared_ptr<RunTime> time_;
  ContributionArrivals arrivals_;
  ContributionQueue queue_;  // For whoever has mutex_.

  mutable std::mutex mutex_;
  RunRecord record_;                      // Its id never changes and may be read without the lock.
  std::optional<ResumePoint> resume_;     // Until the run begins.
  std::vector<std::string> old_journal_;  // Likewise.
  std::optional<Run> run_;                // From then on.
  JournalWriter journal_;
  Effects outbox_;              // To be carried out as soon as the journal is stored.
  bool store_refuses_ = false;  // A timer will try again.
  bool told_store_refuses_ = false;
  std::set<Institution> answered_;       // Whose answer is not stored yet.
  bool stored_answers_ = false;          // A moment ago; a timer goes on.
  std::optional<absl::Duration> armed_;  // When the timer calls Tick() next, on time_.

  AttemptContributions contributions_;
  std::vector<RestoredContribution> restored_;  // Until they are in the sum.
  std::deque<ContributionBody> unchecked_;      // Of them, what has not been read yet.

  std::optional<GlobalAdapter> adapter_;  // The newest; none once the run has ended.
  StoredOptimizerState optimizer_;        // As it was after that one.
  std::optional<ReleaseRecord> last_release_;
};

}  // namespace fedtune
