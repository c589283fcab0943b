// SPDX-License-Identifier: Apache-2.0

// The coordinator's log, which is looked at when a session begins, and whenever work is asked for.
// While it is refused the client takes part in nothing, whichever run has shown it, and looks
// whether somebody at the institution has accepted it.

#include <utility>

#include "base/status.h"
#include "client/round/client_state.h"
#include "client/round/refused_log.h"

namespace fedtune {
namespace {

// Somebody waits. As long as nothing was accepted, nobody but our own disk is asked.
constexpr absl::Duration kLooksWhetherAccepted = absl::Seconds(2);

}  // namespace

void ClientState::Handle(const LogLooked& report) {
  looks_at_log_ = false;
  if (report.status.ok()) return FindLogGood();
  if (IsLogRefused(report.status)) return RefuseLog(Message(report.status));
  if (refuses_log_) PlanToLookAtLog();
}

void ClientState::TakeFromStudy(const InvitationAnswer& answer) {
  if (answer.refuses_log) RefuseLog(answer.reason);
  if (answer.accepted) FindLogGood();
}

// An attempt's work is not told of as failed: nobody is to blame for it.
void ClientState::RefuseLog(std::string_view why) {
  refuses_log_ = true;
  PlanToLookAtLog();
  for (auto& [name, run] : runs_) {
    if (!CanStart(run)) continue;
    const bool in_aggregation = run.answer->secure && run.stage == Stage::kSubmitting;
    Leave(run);
    EndAggregationOf(run);
    run.answer = InvitationAnswer{.run = name,
                                  .reason = std::string(why),
                                  .may_pass = true,
                                  .passes_by_hand = true,
                                  .refuses_log = true};
    Tell(*run.answer);
    if (!in_aggregation) continue;
    Tell(AttemptFailed{.id = run.assignment->id, .reason = std::string(why)});
  }
}

// It is as if all runs that were declined for it were invited again.
void ClientState::FindLogGood() {
  if (!std::exchange(refuses_log_, false)) return;
  look_at_log_at_.reset();
  for (auto& [name, run] : runs_) {
    if (!run.answer || !run.answer->refuses_log) continue;
    run.told_decline = std::exchange(run.answer, std::nullopt);
    duties_.push_back(Study{*run.invitation});
  }
}

void ClientState::PlanToLookAtLog() { look_at_log_at_ = now_.monotonic + kLooksWhetherAccepted; }

void ClientState::LookAtLogIfDue() {
  if (looks_at_log_ || !look_at_log_at_ || now_.monotonic < *look_at_log_at_) return;
  look_at_log_at_.reset();
  looks_at_log_ = true;
  duties_.push_back(LookAtLog{});
}

}  // namespace fedtune
