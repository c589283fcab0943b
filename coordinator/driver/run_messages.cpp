// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_messages.h"

#include <utility>

#include "base/fail_point.h"

namespace fedtune {

RunMessages::RunMessages(RunId run, RunTexts texts, const ClientLines& lines, Log& log)
    : run_(std::move(run)),
      texts_(std::make_shared<const RunTexts>(std::move(texts))),
      lines_(lines),
      log_(log) {}

void RunMessages::Send(const Institution& institution, decltype(ClientCommand::what) what) const {
  lines_.Send(institution, {.run = run_, .what = std::move(what)});
}

void RunMessages::Send(const Invite& effect) const {
  ReachFailPoint(FailPoint::kInvitationPush);
  Send(effect.institution, RunInvitation{texts_});
}

void RunMessages::Send(const Assign& effect) const {
  ReachFailPoint(FailPoint::kAssignmentPush);
  Send(effect.institution, effect.assignment);
}

void RunMessages::Send(const CloseRound& effect) const {
  ReachFailPoint(FailPoint::kRoundClosingPush);
  log_.Info("round closed for a client",
            {Field("run", run_.value), Field("round", effect.round + 1),
             Field("client", effect.institution.value), Field("why", effect.reason)});
  Send(effect.institution,
       RoundClosing{.round = effect.round, .attempt = effect.attempt, .reason = effect.reason});
}

void RunMessages::Send(const SendSecureMessage& effect) const {
  ReachFailPoint(FailPoint::kSecureMessagePush);
  Send(effect.institution,
       SecureAsking{.round = effect.round, .attempt = effect.attempt, .message = effect.message});
}

void RunMessages::Send(const TellRunPaused& effect) const {
  Send(effect.institution, RunPausing{.paused = effect.paused, .reason = effect.reason});
}

void RunMessages::Send(const TellRunEnded& effect) const {
  ReachFailPoint(FailPoint::kRunEndPush);
  Send(effect.institution, RunEnd{.state = effect.state, .reason = effect.reason});
}

}  // namespace fedtune
