// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_daemon.h"

#include <algorithm>
#include <utility>

#include "base/fail_point.h"
#include "base/overloaded.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/round/message_bytes.h"

namespace fedtune {
namespace {

// Long enough to cost nothing, short enough for clocks that are set anew.
constexpr absl::Duration kLongestWait = absl::Minutes(1);

constexpr size_t kMostReasonsTold = 8;

void LogInstruction(Log& log, const Instruction& instruction) {
  std::visit(Overloaded{[&](const Invitation& invitation) {
                          log.Info("run proposed", {Field("run", invitation.run)});
                        },
                        [&](const Assignment& assignment) {
                          log.Info("round assigned",
                                   {Field("run", assignment.id.run),
                                    Field("round", assignment.id.round + 1),
                                    Field("attempt", assignment.id.attempt),
                                    Field("adapter", assignment.adapter.ToHex().substr(0, 12)),
                                    Field("time_left", HumanDuration(assignment.time_left))});
                        },
                        [&](const RoundOver& over) {
                          log.Info("round closed",
                                   {Field("run", over.id.run), Field("round", over.id.round + 1),
                                    Field("reason", over.reason)});
                        },
                        [&](const RunPause& pause) {
                          log.Info(pause.paused ? "run pauses" : "run is resumed",
                                   {Field("run", pause.run), Field("reason", pause.reason)});
                        },
                        [&](const RunOver& over) {
                          log.Info("run ended", {Field("run", over.run), Field("state", over.state),
                                                 Field("reason", over.reason)});
                        },
                        [](const SecureMessage&) {}},
             instruction);
}

// Progress is for the administrator; how far the work is, the workshop logs itself.
void LogReply(Log& log, const Reply& reply) {
  std::visit(
      Overloaded{
          [&](const InvitationAnswer& answer) {
            if (answer.secure) {
              log.Info("run accepted", {Field("run", answer.run), Field("aggregation", "secure")});
            } else if (answer.accepted) {
              log.Info("run accepted",
                       {Field("run", answer.run), Field("records", answer.example_count)});
            } else {
              log.Warning("run declined",
                          {Field("run", answer.run), Field("reason", answer.reason)});
            }
          },
          [&](const WorkProgress& progress) {
            if (progress.phase != WorkPhase::kWaiting) return;
            log.Info("round waits",
                     {Field("run", progress.id.run), Field("round", progress.id.round + 1),
                      Field("reason", progress.note)});
          },
          [&](const AttemptFailed& failed) {
            log.Error("round failed",
                      {Field("run", failed.id.run), Field("round", failed.id.round + 1),
                       Field("reason", failed.reason)});
          },
          [](const SecureMessage&) {}},
      reply);
}

// The log has the whole of it.
Reply WithoutPaths(Reply reply, const LocalNames& names) {
  std::visit(
      Overloaded{[&](InvitationAnswer& answer) { answer.reason = names.Hide(answer.reason); },
                 [&](WorkProgress& progress) { progress.note = names.Hide(progress.note); },
                 [&](AttemptFailed& failed) { failed.reason = names.Hide(failed.reason); },
                 [](SecureMessage&) {}},
      reply);
  return reply;
}

}  // namespace

ClientDaemon::ClientDaemon(Options options, Workshop& workshop, const Clock& clock, Log& log)
    : options_(std::move(options)),
      workshop_(workshop),
      clock_(clock),
      log_(log),
      state_(options_.hours, options_.zone),
      intake_(options_.most_waiting_bytes) {}

absl::Status ClientDaemon::OnWelcome(const Welcome& welcome) {
  return Take({.what = welcome, .share = nullptr}, BytesOf(welcome));
}

absl::Status ClientDaemon::OnInstruction(const Instruction& instruction) {
  return Take({.what = instruction, .share = nullptr}, BytesOf(instruction));
}

void ClientDaemon::OnLost(const absl::Status& reason, absl::Duration retry_in) {
  Post({.what = Lost{reason, retry_in}, .share = nullptr});
}

void ClientDaemon::Run(CoordinatorLink& link, const std::stop_token& stop) {
  Crew crew;
  while (!stop.stop_requested()) {
    for (const Duty& duty : AwaitDuties(stop)) {
      std::visit([&](const auto& kind) { Carry(kind, link, crew); }, duty);
    }
  }
  looking_.request_stop();
  studying_.StopAll();
  submitting_.StopAll();
  if (control_) control_->Stop();
}

absl::Status ClientDaemon::Take(Event event, size_t bytes) {
  ASSIGN_OR_RETURN(event.share, intake_.Admit(bytes));
  Post(std::move(event));
  return absl::OkStatus();
}

void ClientDaemon::Post(Event event) {
  const std::lock_guard lock(mutex_);
  inbox_.push_back(std::move(event));
  arrived_.notify_one();
}

Duties ClientDaemon::AwaitDuties(const std::stop_token& stop) {
  const std::optional<Event> event = Await(stop);
  share_ = event ? event->share : nullptr;
  if (!event) return state_.Tick(Now());
  return std::visit([this](const auto& kind) { return Handle(kind); }, event->what);
}

// None, too, once it is to stop: what comes then, the failure of what made it stop among
// it, is for the next process.
std::optional<ClientDaemon::Event> ClientDaemon::Await(const std::stop_token& stop) {
  absl::Duration wait = kLongestWait;
  if (state_.wake_at()) wait = std::min(wait, *state_.wake_at() - clock_.Monotonic());
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, stop, absl::ToChronoNanoseconds(wait),
                    [this] { return !inbox_.empty(); });
  if (inbox_.empty() || stop.stop_requested()) return std::nullopt;
  Event event = std::move(inbox_.front());
  inbox_.pop_front();
  return event;
}

// ---- What happened ----

Duties ClientDaemon::Handle(const Welcome& welcome) {
  log_.Info("connected",
            {Field("coordinator", options_.address), Field("federation", welcome.federation),
             Field("institution", welcome.institution)});
  told_why_lost_.clear();
  Duties duties = state_.Welcomed(welcome, Now());
  for (const Duty& duty : duties) {
    const auto* forget = std::get_if<Forget>(&duty);
    if (forget == nullptr) continue;
    log_.Info("run has ended meanwhile; what is kept of it is removed",
              {Field("run", forget->run)});
  }
  return duties;
}

Duties ClientDaemon::Handle(const Instruction& instruction) {
  LogInstruction(log_, instruction);
  return state_.Receive(instruction, Now());
}

// One line for each reason until it is back: a coordinator may be away for a night, and
// what keeps it away in the morning may be another thing.
Duties ClientDaemon::Handle(const Lost& lost) {
  if (told_why_lost_.size() < kMostReasonsTold &&
      told_why_lost_.emplace(Message(lost.reason)).second) {
    log_.Warning("no connection; trying again until there is one",
                 {Field("coordinator", options_.address), Field("reason", Message(lost.reason))});
  }
  return {};
}

Duties ClientDaemon::Handle(const Report& report) {
  if (const auto* submitted = std::get_if<Submitted>(&report)) LogSubmission(*submitted);
  return state_.Receive(report, Now());
}

// One line until it is taken: it is offered again every few seconds.
void ClientDaemon::LogSubmission(const Submitted& submitted) {
  const auto& [id, status] = submitted;
  const LogField run = Field("run", id.run);
  const LogField round = Field("round", id.round + 1);
  if (absl::IsUnavailable(status)) {
    if (std::exchange(told_not_taken_[id.run], id) == id) return;
    return log_.Warning("contribution not taken yet; offering it again until it is",
                        {run, round, Field("reason", Message(status))});
  }
  told_not_taken_.erase(id.run);
  if (absl::IsCancelled(status)) return;
  if (status.ok()) return log_.Info("contribution taken", {run, round});
  log_.Warning("contribution not taken", {run, round, Field("reason", Message(status))});
}

// ---- What is to be done ----

void ClientDaemon::Carry(const SendReply& duty, CoordinatorLink& link, Crew&) {
  LogReply(log_, duty.reply);
  ReachFailPoint(FailPoint::kReplySend);
  link.Send(WithoutPaths(duty.reply, options_.local_names));
}

void ClientDaemon::Carry(const Study& duty, CoordinatorLink& link, Crew& crew) {
  crew.study.Post([this, invitation = duty.invitation, &link, share = share_] {
    auto answer = workshop_.Study(invitation, link, studying_.Begin(invitation.run));
    if (answer) Post({.what = Studied{*std::move(answer)}, .share = share});
  });
}

void ClientDaemon::Carry(const Train& duty, CoordinatorLink& link, Crew& crew) {
  control_ = std::make_shared<WorkControl>();
  crew.training.Post(
      [this, assignment = duty.assignment, &link, control = control_, share = share_] {
        const auto tell = [this, &share](Report report) {
          Post({.what = std::move(report), .share = share});
        };
        absl::Status status =
            workshop_.Work(assignment, link, *control,
                           [&tell](const WorkProgress& progress) { tell(Progressed{progress}); });
        if (status.ok()) {
          tell(Progressed{{.id = assignment.id, .phase = WorkPhase::kUploading}});
        }
        tell(Trained{assignment.id, std::move(status)});
      });
}

void ClientDaemon::Carry(const StopTraining&, CoordinatorLink&, Crew&) { control_->Stop(); }
void ClientDaemon::Carry(const PauseTraining&, CoordinatorLink&, Crew&) { control_->Pause(); }
void ClientDaemon::Carry(const ResumeTraining&, CoordinatorLink&, Crew&) { control_->Resume(); }

void ClientDaemon::Carry(const Submit& duty, CoordinatorLink& link, Crew& crew) {
  crew.submission.Post([this, id = duty.id, &link, share = share_] {
    auto outcome = workshop_.Submit(id, link, submitting_.Begin(id));
    if (outcome) Post({.what = Submitted{id, *std::move(outcome)}, .share = share});
  });
}

// The thread is for what other runs have to hand in.
void ClientDaemon::Carry(const StopSubmitting& duty, CoordinatorLink&, Crew&) {
  submitting_.Stop(duty.id);
}

void ClientDaemon::Carry(const Answer& duty, CoordinatorLink& link, Crew& crew) {
  crew.submission.Post([this, duty, &link, share = share_] {
    const AttemptId& id = duty.assignment.id;
    auto outcome = workshop_.Answer(duty.assignment, duty.message, link, submitting_.Begin(id));
    if (outcome) Post({.what = Submitted{id, *std::move(outcome)}, .share = share});
  });
}

void ClientDaemon::Carry(const EndAggregation& duty, CoordinatorLink&, Crew& crew) {
  crew.submission.Post([this, run = duty.run, share = share_] {
    const absl::Status status = workshop_.EndAggregation(run);
    if (!status.ok()) {
      log_.Error("records of a secure aggregation are still there",
                 {Field("run", run), Field("reason", Message(status))});
    }
  });
}

// Behind the work that may still store something of the run.
void ClientDaemon::Carry(const KeepOnly& duty, CoordinatorLink&, Crew& crew) {
  crew.training.Post([this, runs = duty.runs, share = share_] { workshop_.KeepOnly(runs); });
  crew.submission.Post([this, runs = duty.runs, share = share_] {
    const absl::Status status = workshop_.EndAggregationsBut(runs);
    if (!status.ok()) {
      log_.Error("records of secure aggregations of runs that have ended are still there",
                 {Field("reason", Message(status))});
    }
  });
}

// Not behind a run that is being studied, which may take minutes.
void ClientDaemon::Carry(const LookAtLog&, CoordinatorLink& link, Crew& crew) {
  crew.log.Post([this, &link, stop = looking_.get_token()] {
    absl::Status status = workshop_.LookAtLog(link, stop);
    if (!stop.stop_requested()) Post({.what = LogLooked{std::move(status)}, .share = nullptr});
  });
}

void ClientDaemon::Carry(const Forget& duty, CoordinatorLink& link, Crew& crew) {
  told_not_taken_.erase(duty.run);
  studying_.Stop(duty.run);
  workshop_.Forget(duty.run);
  crew.training.Post([this, run = duty.run, share = share_] { workshop_.Discard(run); });
  Carry(EndAggregation{duty.run}, link, crew);
}

}  // namespace fedtune
