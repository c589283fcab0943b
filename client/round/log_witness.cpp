// SPDX-License-Identifier: Apache-2.0

#include "client/round/log_witness.h"

#include <utility>
#include <variant>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/round/refused_log.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Meanwhile only our own disk is looked at, where somebody may have accepted a log.
constexpr absl::Duration kAsksAgain = absl::Minutes(1);
constexpr absl::Duration kTellsAgain = absl::Hours(1);

constexpr std::string_view kRemedy =
    "if its operator has a good reason, as a restore from a backup, \"fedtune-client log accept\" "
    "at this institution takes the log as it is now";

std::string HowItDiffers(const LogHead& seen, const LogHead& now) {
  const std::string before = GroupDigits(seen.size);
  if (now.size < seen.size) {
    return fmt::format(
        "the coordinator's log was rolled back: it had {} entries when this institution last saw "
        "it, now it has {}",
        before, GroupDigits(now.size));
  }
  return fmt::format(
      "the coordinator's log is not the one that this institution has seen: the first {} of its "
      "{} entries were others",
      before, GroupDigits(now.size));
}

absl::Status SaysOtherwise(std::string_view run, std::string_view what, std::string_view logged,
                           std::string_view asked) {
  return absl::InvalidArgumentError(
      fmt::format("the coordinator's log says that {} has the {} {}, and this institution is asked "
                  "with {}",
                  run, what, logged, asked));
}

absl::Status IsOfSomethingElse(const LogEvent& event, std::string_view asked) {
  return absl::InvalidArgumentError(
      fmt::format("the coordinator was asked to show in its log that {}, and has shown: {}", asked,
                  Describe(event)));
}

std::string WhatIsAsked(const Invitation& invitation) {
  return fmt::format("{} was started", invitation.run);
}

std::string WhatIsAsked(const Assignment& assignment) {
  const AttemptId& id = assignment.id;
  return fmt::format("attempt {} at round {} of {} was opened", id.attempt, id.round + 1, id.run);
}

absl::Status CheckSays(const LogEvent& event, const Invitation& invitation) {
  const std::string& run = invitation.run;
  const auto* started = std::get_if<RunStarted>(&event);
  if (started == nullptr || started->run != run) {
    return IsOfSomethingElse(event, WhatIsAsked(invitation));
  }
  const Digest plan = Sha256Of(invitation.plan_toml);
  if (started->plan != plan) {
    return SaysOtherwise(run, "plan", started->plan.ToString(), plan.ToString());
  }
  const Digest layout = Sha256Of(invitation.layout_json);
  if (started->layout != layout) {
    return SaysOtherwise(run, "layout", started->layout.ToString(), layout.ToString());
  }
  if (started->base_digest == invitation.base_digest) return absl::OkStatus();
  return SaysOtherwise(run, "base model", started->base_digest, invitation.base_digest);
}

absl::Status CheckSays(const LogEvent& event, const Assignment& assignment) {
  const AttemptId& id = assignment.id;
  const auto* opened = std::get_if<RoundOpened>(&event);
  if (opened == nullptr ||
      AttemptId{.run = opened->run, .round = opened->round, .attempt = opened->attempt} != id) {
    return IsOfSomethingElse(event, WhatIsAsked(assignment));
  }
  if (opened->adapter == assignment.adapter) return absl::OkStatus();
  return SaysOtherwise(fmt::format("round {} of {}", id.round + 1, id.run), "adapter",
                       opened->adapter.ToString(), assignment.adapter.ToString());
}

template <typename Asked>
absl::Status CheckSays(const absl::StatusOr<std::optional<LogEvent>>& shown, const Asked& asked) {
  if (absl::IsNotFound(shown.status())) {
    return Annotate(shown.status(),
                    fmt::format("the coordinator's log does not show that {}", WhatIsAsked(asked)));
  }
  RETURN_IF_ERROR(shown.status());
  return shown->has_value() ? CheckSays(**shown, asked) : absl::OkStatus();
}

}  // namespace

LogWitness::LogWitness(SeenLog seen, const Clock& clock, Log& log)
    : seen_(std::move(seen)), clock_(clock), log_(log) {}

absl::Status LogWitness::CheckStarted(const Invitation& invitation, CoordinatorLink& link,
                                      const std::stop_token& stop) {
  return Told(CheckSays(Ask({.run = invitation.run}, link, stop), invitation));
}

absl::Status LogWitness::CheckOpened(const Assignment& assignment, CoordinatorLink& link,
                                     const std::stop_token& stop) {
  const AttemptId& id = assignment.id;
  return Told(CheckSays(Ask({.run = id.run, .round = id.round, .attempt = id.attempt}, link, stop),
                        assignment));
}

absl::Status LogWitness::Look(CoordinatorLink& link, const std::stop_token& stop) {
  RETURN_IF_ERROR(StillRefused());
  const Shown shown = Ask({}, link, stop);
  if (absl::IsNotFound(shown.status())) return absl::OkStatus();
  if (!shown.ok() || !shown->has_value()) return Told(shown.status());
  const bool is_beginning = std::holds_alternative<LogBegun>(**shown);
  return Told(is_beginning ? absl::OkStatus() : IsOfSomethingElse(**shown, "it has begun"));
}

// OK: that is to be asked.
absl::Status LogWitness::StillRefused() {
  const std::lock_guard lock(mutex_);
  if (!refusal_ || clock_.Monotonic() >= refusal_->shown_at + kAsksAgain) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Memory memory, Remember());
  return memory == refusal_->memory ? refusal_->why : absl::OkStatus();
}

// The coordinator may take its time, in which others are not held up: what another check has
// seen meanwhile, or an administrator accepted, is what this one must go on from.
LogWitness::Shown LogWitness::Ask(LogQuestion question, CoordinatorLink& link,
                                  const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    ASSIGN_OR_RETURN(const Memory memory, Remember());
    question.seen_size = memory.seen ? memory.seen->checkpoint.head.size : 0;
    lock.unlock();
    const absl::StatusOr<LogProof> proof = link.ProveLog(question, stop);
    lock.lock();
    if (absl::IsCancelled(proof.status())) return proof.status();
    ASSIGN_OR_RETURN(const FileLock file_lock, seen_.Lock());
    ASSIGN_OR_RETURN(const Memory now, Remember());
    if (now != memory) continue;
    return proof.ok() ? Judge(memory, *proof) : WithoutProof(memory, proof.status());
  }
}

absl::StatusOr<LogWitness::Memory> LogWitness::Remember() const {
  absl::StatusOr<std::optional<KeptCheckpoint>> seen = seen_.Believed();
  if (seen.ok()) return Memory{.seen = *std::move(seen), .damage = absl::OkStatus()};
  if (absl::IsDataLoss(seen.status())) return Memory{.seen = {}, .damage = seen.status()};
  return seen.status();
}

// Stored is what the coordinator has signed also where the entry is not what it should be.
LogWitness::Shown LogWitness::Judge(const Memory& memory, const LogProof& proof) {
  ASSIGN_OR_RETURN(const std::string authority, seen_.Authority());
  std::optional<LogCheckpoint> seen;
  if (memory.seen) seen = memory.seen->checkpoint;
  const absl::StatusOr<ProvenEntry> proven = VerifyLogProof(proof, seen, authority);
  const bool is_another = absl::IsFailedPrecondition(proven.status());
  if (is_another || (proven.ok() && !memory.damage.ok())) return Refuse(memory, proof, authority);
  if (!proven.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("what the coordinator shows of its log is no "
                    "proof: {}",
                    Message(proven.status())));
  }
  RETURN_IF_ERROR(seen_.Believe(proof.checkpoint, clock_.Now()));
  refusal_.reset();
  if (!seen) TellOfFirst(proven->checkpoint);
  return proven->entry.event;
}

void LogWitness::TellOfFirst(const LogCheckpoint& checkpoint) {
  log_.Info(
      "the coordinator's log is seen for the first time; it may only grow from now on",
      {Field("entries", checkpoint.head.size), Field("root", checkpoint.head.root.ToString())});
}

absl::Status LogWitness::Refuse(const Memory& memory, const LogProof& proof,
                                std::string_view authority) {
  ASSIGN_OR_RETURN(const LogCheckpoint now, VerifyCheckpoint(proof.checkpoint, authority));
  RETURN_IF_ERROR(seen_.Refuse(proof.checkpoint, clock_.Now()));
  const std::string why =
      memory.seen ? HowItDiffers(memory.seen->checkpoint.head, now.head)
                  : fmt::format(
                        "what this institution has seen of the coordinator's log is not "
                        "known any more: {}",
                        Message(memory.damage));
  return Refused(memory, fmt::format("{}; {}", why, kRemedy));
}

// A log that is refused may grow; it is the same one.
absl::Status LogWitness::Refused(const Memory& memory, std::string_view why) {
  const bool is_known = refusal_ && refusal_->memory == memory;
  refusal_ = Refusal{.memory = memory,
                     .why = WithRefusedLog(
                         absl::FailedPreconditionError(absl::string_view(why.data(), why.size()))),
                     .shown_at = clock_.Monotonic(),
                     .told_at = is_known ? refusal_->told_at : -absl::InfiniteDuration()};
  return refusal_->why;
}

LogWitness::Shown LogWitness::WithoutProof(const Memory& memory, const absl::Status& why) {
  if (absl::IsNotFound(why)) return why;
  if (!absl::IsUnimplemented(why)) return Annotate(why, "the coordinator's log");
  if (memory.seen || !memory.damage.ok()) {
    return Refused(memory, fmt::format("the coordinator shows no log any more, as before an "
                                       "update, and this institution has seen one; if its operator "
                                       "has a good reason, set {} aside",
                                       seen_.believed_file().string()));
  }
  if (!std::exchange(told_of_no_log_, true)) {
    log_.Warning(
        "the coordinator is of an older version, which keeps no log: nothing shows "
        "whether it tells others the same");
  }
  return std::nullopt;
}

// A run that is declined is looked at again and again.
absl::Status LogWitness::Told(const absl::Status& outcome) {
  if (absl::IsCancelled(outcome)) return outcome;
  const std::lock_guard lock(mutex_);
  if (IsLogRefused(outcome)) {
    TellOfRefusal(outcome);
  } else if (std::exchange(told_, Message(outcome)) != Message(outcome) && !outcome.ok()) {
    log_.Error("the coordinator's log could not be verified", {Field("reason", told_)});
  }
  return outcome;
}

void LogWitness::TellOfRefusal(const absl::Status& why) {
  const absl::Duration now = clock_.Monotonic();
  if (!refusal_ || now < refusal_->told_at + kTellsAgain) return;
  refusal_->told_at = now;
  const bool was_shown = !absl::IsNotFound(ReadFile(seen_.refused_file()).status());
  log_.Error("the coordinator's log is refused",
             {Field("reason", Message(why)), Field("seen", seen_.believed_file().string()),
              Field("refused", was_shown ? seen_.refused_file().string() : "none")});
}

}  // namespace fedtune
