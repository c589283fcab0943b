// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "client/policy/hours.h"
#include "client/round/client_state.h"
#include "client/round/coordinator_link.h"
#include "client/round/intake.h"
#include "client/round/local_names.h"
#include "client/round/stoppable_task.h"
#include "client/round/task_thread.h"
#include "client/round/work_control.h"
#include "client/round/workshop.h"

namespace fedtune {

// Serves a coordinator: passes what comes from the session and from the workers
// to ClientState, one at a time, and carries out what it says. Invitations are
// studied, rounds trained and contributions handed in on a thread each, never on
// those of the session. Secure aggregations are on the thread of contributions.
//
//   ClientDaemon daemon({...}, workshop, clock, log);
//   CoordinatorClient link(options, greeting, daemon);
//   daemon.Run(link, stop);
//
// The listener's methods are thread-safe.
class ClientDaemon final : public SessionListener {
 public:
  struct Options {
    Hours hours;
    absl::TimeZone zone;
    std::string address;          // Of the coordinator, for the log.
    LocalNames local_names = {};  // In what the coordinator is told.
    // Of what the coordinator has said and is not done with.
    size_t most_waiting_bytes = size_t{256} << 20;
  };

  // Workshop, clock and log must outlive the daemon.
  ClientDaemon(Options options, Workshop& workshop, const Clock& clock, Log& log);

  // Serves until `stop`; what is being worked on then is given up.
  void Run(CoordinatorLink& link, const std::stop_token& stop);

  absl::Status OnWelcome(const Welcome& welcome) override;
  absl::Status OnInstruction(const Instruction& instruction) override;
  void OnLost(const absl::Status& reason, absl::Duration retry_in) override;

 private:
  struct Lost {
    absl::Status reason;
    absl::Duration retry_in;
  };
  struct Event {
    std::variant<Welcome, Instruction, Lost, Report> what;
    Intake::Share share;  // Of the message that has led to it; may be null.
  };

  // The threads that work; ended, the last one first, when Run() returns.
  struct Crew {
    TaskThread log;
    TaskThread study;
    TaskThread training;
    TaskThread submission;
  };

  // Puts an event into the inbox, the first one if there is room for it; takes the next one out, or
  // nothing when it is time to tick or to stop.
  absl::Status Take(Event event, size_t bytes);
  void Post(Event event);
  std::optional<Event> Await(const std::stop_token& stop);
  Duties AwaitDuties(const std::stop_token& stop);

  Moment Now() const { return {clock_.Now(), clock_.Monotonic()}; }
  Duties Handle(const Welcome& welcome);
  Duties Handle(const Instruction& instruction);
  Duties Handle(const Lost& lost);
  Duties Handle(const Report& report);
  void LogSubmission(const Submitted& submitted);

  void Carry(const SendReply& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const Study& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const Train& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const StopTraining& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const PauseTraining& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const ResumeTraining& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const Submit& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const StopSubmitting& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const Answer& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const EndAggregation& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const Forget& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const KeepOnly& duty, CoordinatorLink& link, Crew& crew);
  void Carry(const LookAtLog& duty, CoordinatorLink& link, Crew& crew);

  const Options options_;
  Workshop& workshop_;
  const Clock& clock_;
  Log& log_;
  ClientState state_;
  // Why the coordinator cannot be reached, as far as the log says it since it could.
  std::set<std::string, std::less<>> told_why_lost_;
  // Likewise whose contribution waits to be taken; by run.
  std::map<std::string, AttemptId> told_not_taken_;

  Intake intake_;
  Intake::Share share_;  // Of the event whose duties are carried out: their tasks have it, too.

  std::shared_ptr<WorkControl> control_;  // Of the newest Train.
  std::stop_source looking_;              // At the coordinator's log.
  StoppableTask<std::string> studying_;   // Of the run.
  StoppableTask<AttemptId> submitting_;

  std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<Event> inbox_;  // Guarded by mutex_.
};

}  // namespace fedtune
