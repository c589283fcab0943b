// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_state.h"

#include <algorithm>
#include <utility>

#include "base/overloaded.h"
#include "base/status.h"
#include "base/units.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// How often one run's progress is told, and a contribution offered again.
constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);
constexpr absl::Duration kRetryInterval = absl::Seconds(5);

// How long a coordinator may take to repeat its invitations.
constexpr absl::Duration kConfirmationTime = absl::Minutes(1);

}  // namespace

std::string_view ToString(WorkPhase phase) {
  switch (phase) {
    case WorkPhase::kDownloading:
      return "downloading";
    case WorkPhase::kEvaluating:
      return "evaluating";
    case WorkPhase::kTraining:
      return "training";
    case WorkPhase::kUploading:
      return "uploading";
    case WorkPhase::kWaiting:
      return "waiting";
  }
  return "unknown";
}

Duties ClientState::Receive(const Instruction& instruction, absl::Time now) {
  now_ = now;
  std::visit([this](const auto& known) { Handle(known); }, instruction);
  return Settle();
}

Duties ClientState::Receive(const Report& report, absl::Time now) {
  now_ = now;
  std::visit([this](const auto& known) { Handle(known); }, report);
  return Settle();
}

Duties ClientState::Welcomed(absl::Time now) {
  now_ = now;
  for (auto& [name, run] : runs_) run.confirmed = false;
  forget_at_ = now + kConfirmationTime;
  return Settle();
}

Duties ClientState::Tick(absl::Time now) {
  now_ = now;
  return Settle();
}

// ---- What the coordinator asks ----

void ClientState::Handle(const Invitation& invitation) {
  RunState& run = runs_[invitation.run];
  run.confirmed = true;
  if (run.invitation && *run.invitation == invitation) {
    if (run.answer) Tell(*run.answer);
    return;
  }
  run.invitation = invitation;
  run.answer.reset();
  duties_.push_back(Study{invitation});
}

void ClientState::Handle(const Assignment& assignment) {
  RunState& run = runs_[assignment.id.run];
  run.confirmed = true;
  if (run.answer && !run.answer->accepted) return Tell(*run.answer);
  if (run.assignment && run.assignment->id == assignment.id) return Repeat(run);
  Leave(run);
  EndAggregationOf(run);
  run.unheard.clear();
  run.assignment = assignment;
  run.stage = Stage::kQueued;
  queue_.push_back(assignment.id.run);
}

// The coordinator asks again for what it has asked before, after a reconnect or
// a restart of its own.
void ClientState::Repeat(RunState& run) {
  switch (run.stage) {
    case Stage::kUnsent:
    case Stage::kDone:
      Resubmit(run);
      break;
    case Stage::kSubmitting:
      // What an aggregation has said may be lost with the connection.
      if (run.answer && run.answer->secure) Resubmit(run);
      break;
    case Stage::kFailed:
      Tell(AttemptFailed{run.assignment->id, run.failure});
      break;
    case Stage::kOver:
      run.stage = Stage::kQueued;
      queue_.push_back(run.assignment->id.run);
      break;
    case Stage::kQueued:
      run.told_why_it_waits = false;
      break;
    case Stage::kTraining:
      if (run.progress && !paused_) Tell(*run.progress);
      break;
    case Stage::kIdle:
      break;
  }
}

void ClientState::Resubmit(RunState& run) {
  run.stage = Stage::kSubmitting;
  duties_.push_back(Submit{run.assignment->id});
}

// Ends what is being done for the run's assignment.
void ClientState::Leave(RunState& run) {
  if (run.stage == Stage::kQueued) std::erase(queue_, run.assignment->id.run);
  if (run.stage == Stage::kTraining) {
    duties_.push_back(StopTraining{});
    paused_ = false;
  }
  run.stage = run.assignment ? Stage::kOver : Stage::kIdle;
  run.told_why_it_waits = false;
}

void ClientState::Handle(const RoundOver& over) {
  RunState* run = Find(over.id);
  if (run == nullptr) return;
  Leave(*run);
  EndAggregationOf(*run);
}

void ClientState::EndAggregationOf(const RunState& run) {
  if (!run.assignment || !run.answer || !run.answer->secure) return;
  duties_.push_back(EndAggregation{run.assignment->id.run});
}

void ClientState::Handle(const SecureMessage& message) {
  RunState* run = Find(message.id);
  if (run == nullptr || run->stage == Stage::kFailed || run->stage == Stage::kOver) return;
  if (!run->answer) {
    run->unheard = message.message;
  } else if (run->answer->secure) {
    duties_.push_back(Answer{*run->assignment, message.message});
  }
}

// There is nothing to do but to wait, as between any two rounds.
void ClientState::Handle(const RunPause& pause) {
  const auto found = runs_.find(pause.run);
  if (found != runs_.end()) found->second.confirmed = true;
}

// Of a run that ended while the client was away an earlier process may have kept
// something.
void ClientState::Handle(const RunOver& over) {
  if (!runs_.contains(over.run)) return duties_.push_back(Forget{over.run});
  End(over.run);
}

void ClientState::End(const std::string& run) {
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  duties_.push_back(Forget{run});
  Leave(found->second);
  runs_.erase(found);
}

// ---- What the workers report ----

void ClientState::Handle(const Studied& report) {
  const auto found = runs_.find(report.answer.run);
  if (found == runs_.end()) return duties_.push_back(Forget{report.answer.run});
  RunState& run = found->second;
  run.answer = report.answer;
  Tell(report.answer);
  if (run.unheard.empty()) return;
  Handle(SecureMessage{run.assignment->id, std::exchange(run.unheard, {})});
}

void ClientState::Handle(const Progressed& report) {
  RunState* run = Find(report.progress.id);
  if (run == nullptr || run->stage != Stage::kTraining) return;
  const bool new_phase = !run->progress || run->progress->phase != report.progress.phase;
  run->progress = report.progress;
  if (paused_ || (!new_phase && now_ - run->progress_told_at < kProgressInterval)) return;
  run->progress_told_at = now_;
  Tell(report.progress);
}

void ClientState::Handle(const Trained& report) {
  training_.reset();
  paused_ = false;
  RunState* run = Find(report.id);
  if (run == nullptr || run->stage != Stage::kTraining) return;
  if (!report.status.ok()) return Fail(*run, Message(report.status));
  run->stage = Stage::kSubmitting;
  duties_.push_back(Submit{report.id});
}

void ClientState::Handle(const Submitted& report) {
  RunState* run = Find(report.id);
  if (run == nullptr) return;
  if (run->stage == Stage::kQueued || run->stage == Stage::kTraining) {
    // An earlier process had begun the aggregation, and it has come to its end.
    if (absl::IsUnavailable(report.status)) return;
    Leave(*run);
    run->stage = Stage::kSubmitting;
  }
  if (run->stage != Stage::kSubmitting) return;
  if (report.status.ok()) {
    run->stage = Stage::kDone;
  } else if (absl::IsUnavailable(report.status)) {
    run->stage = Stage::kUnsent;
    run->retry_at = now_ + kRetryInterval;
  } else if (absl::IsFailedPrecondition(report.status)) {
    run->stage = Stage::kOver;
  } else {
    Fail(*run, Message(report.status));
  }
}

void ClientState::Fail(RunState& run, std::string_view reason) {
  run.stage = Stage::kFailed;
  run.failure = reason;
  Tell(AttemptFailed{run.assignment->id, run.failure});
}

// ---- What follows ----

Duties ClientState::Settle() {
  ForgetUnconfirmed();
  FollowHours();
  StartNext();
  RetrySubmissions();
  SetAlarm();
  return std::exchange(duties_, {});
}

// Running work stands still outside the hours.
void ClientState::FollowHours() {
  RunState* run = training_ ? Find(*training_) : nullptr;
  if (run == nullptr || run->stage != Stage::kTraining) return;
  const auto opens_at = hours_.OpensAt(now_, zone_);
  if (opens_at && !paused_) {
    paused_ = true;
    duties_.push_back(PauseTraining{});
    TellWaitingForHours(*run, *opens_at);
  } else if (!opens_at && paused_) {
    paused_ = false;
    duties_.push_back(ResumeTraining{});
    if (run->progress) Tell(*run->progress);
  }
}

void ClientState::StartNext() {
  const auto opens_at = hours_.OpensAt(now_, zone_);
  for (const std::string& name : queue_) {
    RunState& run = runs_.at(name);
    if (!CanStart(run) || run.told_why_it_waits) continue;
    if (opens_at) TellWaitingForHours(run, *opens_at);
    if (!opens_at && training_) TellWaiting(run, "another run is trained first");
  }
  if (opens_at || training_) return;
  const auto next = std::find_if(queue_.begin(), queue_.end(),
                                 [&](const std::string& name) { return CanStart(runs_.at(name)); });
  if (next == queue_.end()) return;
  RunState& run = runs_.at(*next);
  queue_.erase(next);
  run.stage = Stage::kTraining;
  run.progress.reset();
  training_ = run.assignment->id;
  duties_.push_back(Train{*run.assignment});
}

void ClientState::TellWaitingForHours(RunState& run, absl::Time opens_at) {
  TellWaiting(run, fmt::format("waiting for its hours ({}), {}", hours_.ToString(),
                               HumanDuration(opens_at - now_)));
}

void ClientState::TellWaiting(RunState& run, std::string note) {
  run.told_why_it_waits = true;
  Tell(WorkProgress{
      .id = run.assignment->id, .phase = WorkPhase::kWaiting, .note = std::move(note)});
}

void ClientState::RetrySubmissions() {
  for (auto& [name, run] : runs_) {
    if (run.stage != Stage::kUnsent || now_ < run.retry_at) continue;
    Resubmit(run);
  }
}

void ClientState::ForgetUnconfirmed() {
  if (!forget_at_ || now_ < *forget_at_) return;
  forget_at_.reset();
  std::vector<std::string> gone;
  for (const auto& [name, run] : runs_) {
    if (!run.confirmed) gone.push_back(name);
  }
  for (const std::string& name : gone) End(name);
  KeepOnly open;
  for (const auto& [name, run] : runs_) open.runs.push_back(name);
  duties_.push_back(std::move(open));
}

void ClientState::SetAlarm() {
  wake_at_ = forget_at_;
  const auto at_latest = [this](absl::Time time) {
    wake_at_ = wake_at_ ? std::min(*wake_at_, time) : time;
  };
  for (const auto& [name, run] : runs_) {
    if (run.stage == Stage::kUnsent) at_latest(run.retry_at);
  }
  if (queue_.empty() && !training_) return;
  if (const auto opens_at = hours_.OpensAt(now_, zone_)) {
    at_latest(*opens_at);
  } else if (const auto closes_at = hours_.ClosesAt(now_, zone_)) {
    at_latest(*closes_at);
  }
}

bool ClientState::CanStart(const RunState& run) { return run.answer && run.answer->accepted; }

ClientState::RunState* ClientState::Find(const AttemptId& id) {
  const auto found = runs_.find(id.run);
  if (found == runs_.end()) return nullptr;
  RunState& run = found->second;
  return run.assignment && run.assignment->id == id ? &run : nullptr;
}

void ClientState::Tell(Reply reply) { duties_.push_back(SendReply{std::move(reply)}); }

}  // namespace fedtune
