// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_state.h"

#include <algorithm>
#include <utility>

#include "base/overloaded.h"
#include "base/status.h"
#include "base/units.h"
#include "client/round/message_bytes.h"
#include "client/round/refused_log.h"
#include "client/storage/agreed_rounds.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// How often one run's progress is told.
constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);

// How long a submission may go on when its round is over: what is whole at the
// coordinator is answered within that time.
constexpr absl::Duration kAnswerTime = absl::Seconds(10);

// Not so when a coordinator opens a round anew from another adapter, as after a restore.
bool AskTheSame(const Assignment& a, const Assignment& b) {
  return a.id == b.id && a.adapter == b.adapter && a.factors == b.factors &&
         a.evaluate == b.evaluate && a.evaluate_only == b.evaluate_only;
}

}  // namespace

Duties ClientState::Receive(const Instruction& instruction, const Moment& now) {
  now_ = now;
  std::visit([this](const auto& known) { Handle(known); }, instruction);
  return Settle();
}

Duties ClientState::Receive(const Report& report, const Moment& now) {
  now_ = now;
  std::visit([this](const auto& known) { Handle(known); }, report);
  return Settle();
}

Duties ClientState::Welcomed(const Welcome& welcome, const Moment& now) {
  now_ = now;
  if (welcome.runs_under_way) EndAllBut(*welcome.runs_under_way);
  for (auto& [name, run] : runs_) run.is_told_of = welcome.runs_under_way.has_value();
  look_at_log_at_ = now_.monotonic;
  return Settle();
}

Duties ClientState::Tick(const Moment& now) {
  now_ = now;
  return Settle();
}

// ---- What the coordinator asks ----

// Why it declined may have passed: a disk that was full, data that was not there.
void ClientState::Handle(const Invitation& invitation) {
  if (!MakeRoomFor(invitation.run, BytesOf(invitation))) {
    return Tell(InvitationAnswer{.run = invitation.run, .reason = WithoutRoom()});
  }
  RunState& run = runs_[invitation.run];
  run.is_told_of = true;
  run.told_decline.reset();
  if (run.invitation && *run.invitation == invitation) {
    if (!run.answer) return;  // It is being studied.
    if (run.answer->accepted) return Tell(*run.answer);
  }
  run.invitation = invitation;
  run.answer.reset();
  run.look_again_at.reset();
  duties_.push_back(Study{invitation});
}

void ClientState::Handle(const Assignment& assignment) {
  if (!MakeRoomFor(assignment.id.run)) {
    return Tell(AttemptFailed{.id = assignment.id, .reason = WithoutRoom()});
  }
  RunState& run = runs_[assignment.id.run];
  run.is_told_of = true;
  run.told_decline.reset();
  if (run.answer && !run.answer->accepted) return Tell(*run.answer);
  if (run.assignment && AskTheSame(*run.assignment, assignment)) return Repeat(run);
  const bool has_its_id = run.assignment && run.assignment->id == assignment.id;
  const bool was_handed_in =
      has_its_id && run.stage >= Stage::kSubmitting && run.stage <= Stage::kDone;
  const bool secure = run.answer && run.answer->secure;
  run.old_is_submitted = was_handed_in && run.stage == Stage::kSubmitting && !secure;
  Leave(run);
  EndAggregationOf(run);
  run.unheard.clear();
  run.assignment = assignment;
  if (was_handed_in && secure) {
    return Fail(run, absl::FailedPreconditionError(
                         "it has begun this attempt from another adapter, as before a restore; it "
                         "can take part in the next one"));
  }
  run.stage = Stage::kQueued;
  queue_.push_back(assignment.id.run);
}

// The coordinator asks again for what it has asked before, after a reconnect or
// a restart of its own.
void ClientState::Repeat(RunState& run) {
  switch (run.stage) {
    case Stage::kUnsent:
    case Stage::kDone:
      HandIn(run);
      break;
    case Stage::kSubmitting:
      // What an aggregation has said may be lost with the connection.
      if (run.answer && run.answer->secure) HandIn(run);
      break;
    case Stage::kFailed:
      TellFailure(run);
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

void ClientState::HandIn(RunState& run) {
  unwanted_.erase(run.assignment->id);
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
  if (run.stage == Stage::kSubmitting) {
    unwanted_[run.assignment->id] = now_.monotonic + kAnswerTime;
  }
  run.stage = run.assignment ? Stage::kOver : Stage::kIdle;
  run.told_why_it_waits = false;
  run.put_off_until.reset();
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
    const size_t invitation = run->invitation ? BytesOf(*run->invitation) : 0;
    if (!MakeRoomFor(message.id.run, invitation + message.message.size())) {
      Leave(*run);
      return Fail(*run, absl::ResourceExhaustedError(WithoutRoom()));
    }
    run->unheard = message.message;
  } else if (run->answer->secure) {
    duties_.push_back(Answer{*run->assignment, message.message});
  }
}

// There is nothing to do but to wait, as between any two rounds.
void ClientState::Handle(const RunPause&) {}

// Of a run that ended while the client was away an earlier process may have kept
// something.
void ClientState::Handle(const RunOver& over) {
  if (!runs_.contains(over.run)) return duties_.push_back(Forget{over.run});
  End(over.run);
}

void ClientState::EndAllBut(std::vector<std::string> under_way) {
  std::vector<std::string> over;
  for (const auto& [name, run] : runs_) {
    if (std::find(under_way.begin(), under_way.end(), name) == under_way.end()) {
      over.push_back(name);
    }
  }
  for (const std::string& name : over) End(name);
  duties_.push_back(KeepOnly{std::move(under_way)});
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
  const std::optional<InvitationAnswer> told = std::exchange(run.told_decline, std::nullopt);
  // Why may change each minute, and the coordinator heeds no client that does so.
  const bool still_waits = told && told->passes_by_hand && report.answer.passes_by_hand &&
                           told->refuses_log == report.answer.refuses_log;
  if (!still_waits && told != run.answer) Tell(report.answer);
  if (!report.answer.accepted) Leave(run);
  PlanToLookAgain(run);
  TakeFromStudy(report.answer);
  if (run.unheard.empty()) return;
  Handle(SecureMessage{run.assignment->id, std::exchange(run.unheard, {})});
}

void ClientState::Handle(const Progressed& report) {
  RunState* run = Find(report.progress.id);
  if (run == nullptr || run->stage != Stage::kTraining) return;
  const bool new_phase = !run->progress || run->progress->phase != report.progress.phase;
  run->progress = report.progress;
  if (paused_ || (!new_phase && now_.monotonic - run->progress_told_at < kProgressInterval)) return;
  run->progress_told_at = now_.monotonic;
  Tell(report.progress);
}

void ClientState::Handle(const Trained& report) {
  training_.reset();
  paused_ = false;
  RunState* run = Find(report.id);
  const bool is_wanted = run != nullptr && run->stage == Stage::kTraining;
  if (IsLogRefused(report.status)) {
    if (is_wanted) run->stage = Stage::kOver;
    return RefuseLog(Message(report.status));
  }
  if (!is_wanted) return;
  if (absl::IsUnavailable(report.status)) return PutOff(*run, Message(report.status));
  if (!report.status.ok()) return Fail(*run, report.status);
  HandIn(*run);
}

void ClientState::Handle(const Submitted& report) {
  unwanted_.erase(report.id);
  RunState* run = Find(report.id);
  if (run == nullptr || std::exchange(run->old_is_submitted, false)) return;
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
    RetryLater(*run);
  } else if (absl::IsFailedPrecondition(report.status)) {
    run->stage = Stage::kOver;
  } else {
    Fail(*run, report.status);
  }
}

void ClientState::Fail(RunState& run, const absl::Status& why) {
  run.stage = Stage::kFailed;
  run.failure = Message(why);
  run.agreed_rounds = AgreedRounds(why);
  TellFailure(run);
}

void ClientState::TellFailure(const RunState& run) {
  Tell(AttemptFailed{
      .id = run.assignment->id, .reason = run.failure, .agreed_rounds = run.agreed_rounds});
}

// ---- What follows ----

Duties ClientState::Settle() {
  FollowHours();
  StartNext();
  RetrySubmissions();
  LookAgain();
  LookAtLogIfDue();
  StopUnwanted();
  SetAlarm();
  return std::exchange(duties_, {});
}

// Running work stands still outside the hours.
void ClientState::FollowHours() {
  RunState* run = training_ ? Find(*training_) : nullptr;
  if (run == nullptr || run->stage != Stage::kTraining) return;
  const auto opens_at = hours_.OpensAt(now_.time_of_day, zone_);
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
  const auto opens_at = hours_.OpensAt(now_.time_of_day, zone_);
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
                               HumanDuration(opens_at - now_.time_of_day)));
}

void ClientState::TellWaiting(RunState& run, std::string note) {
  run.told_why_it_waits = true;
  Tell(WorkProgress{
      .id = run.assignment->id, .phase = WorkPhase::kWaiting, .note = std::move(note)});
}

void ClientState::StopUnwanted() {
  std::erase_if(unwanted_, [this](const auto& submission) {
    const auto& [id, stopped_at] = submission;
    if (now_.monotonic < stopped_at) return false;
    duties_.push_back(StopSubmitting{id});
    return true;
  });
}

void ClientState::SetAlarm() {
  wake_at_.reset();
  const auto at_latest = [this](absl::Duration time) {
    wake_at_ = wake_at_ ? std::min(*wake_at_, time) : time;
  };
  const auto at_hour = [&](absl::Time hour) {
    at_latest(now_.monotonic + (hour - now_.time_of_day));
  };
  for (const auto& [name, run] : runs_) {
    if (run.stage == Stage::kUnsent) at_latest(run.retry_at);
    if (run.look_again_at) at_latest(*run.look_again_at);
    if (run.put_off_until > now_.monotonic) at_latest(*run.put_off_until);
  }
  for (const auto& [id, stopped_at] : unwanted_) at_latest(stopped_at);
  if (look_at_log_at_ && !looks_at_log_) at_latest(*look_at_log_at_);
  if (queue_.empty() && !training_) return;
  if (const auto opens_at = hours_.OpensAt(now_.time_of_day, zone_)) {
    at_hour(*opens_at);
  } else if (const auto closes_at = hours_.ClosesAt(now_.time_of_day, zone_)) {
    at_hour(*closes_at);
  }
}

bool ClientState::CanStart(const RunState& run) const {
  return run.answer && run.answer->accepted && run.put_off_until <= now_.monotonic;
}

ClientState::RunState* ClientState::Find(const AttemptId& id) {
  const auto found = runs_.find(id.run);
  if (found == runs_.end()) return nullptr;
  RunState& run = found->second;
  return run.assignment && run.assignment->id == id ? &run : nullptr;
}

void ClientState::Tell(Reply reply) { duties_.push_back(SendReply{std::move(reply)}); }

}  // namespace fedtune
