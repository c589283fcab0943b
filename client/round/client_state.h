// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/policy/hours.h"
#include "client/round/messages.h"

namespace fedtune {

// A moment on both faces of a clock: hours are of the time of day, which may be set anew;
// what is due after a while goes by the one that never jumps.
struct Moment {
  absl::Time time_of_day = absl::UnixEpoch();
  absl::Duration monotonic = absl::ZeroDuration();
};

// ---- What the client's workers report ----

// The answer to an invitation is found.
struct Studied {
  InvitationAnswer answer;
};

// Training, or what belongs to it, has come so far.
struct Progressed {
  WorkProgress progress;
};

// Train is over: with a contribution that is ready, or not. CANCELLED after
// StopTraining. UNAVAILABLE: it could not begin, and may be tried again.
struct Trained {
  AttemptId id;
  absl::Status status;
};

// The contribution is handed in, in a secure round with all that its aggregation
// asks; or it is not. UNAVAILABLE: it may be tried again. FAILED_PRECONDITION: the
// round does not take it any more.
struct Submitted {
  AttemptId id;
  absl::Status status;
};

// LookAtLog is over: the log goes on from what was seen; or IsLogRefused(); or it could not
// be looked at.
struct LogLooked {
  absl::Status status;
};

using Report = std::variant<Studied, Progressed, Trained, Submitted, LogLooked>;

// ---- What is to be done, in this order ----

struct SendReply {
  Reply reply;
};

// Find the answer to an invitation.
struct Study {
  Invitation invitation;
};

// Do the work of an assignment up to a contribution, which is kept. One at a
// time.
struct Train {
  Assignment assignment;
};

// The running Train is to end early, or to stand still for a while.
struct StopTraining {};
struct PauseTraining {};
struct ResumeTraining {};

// Hand in the contribution that is kept for this attempt. In a secure round:
// begin its aggregation, or say again what was said last.
struct Submit {
  AttemptId id;
};

// What is being handed in for this attempt is not wanted any more, and takes long.
struct StopSubmitting {
  AttemptId id;
};

// Answer the coordinator's message of a secure aggregation.
struct Answer {
  Assignment assignment;
  Bytes message;
};

// The run's attempt needs nothing more: its secure aggregation ends, if it has one.
struct EndAggregation {
  std::string run;
};

// The run is over: nothing that is kept for it is needed any more.
struct Forget {
  std::string run;
};

// No other run is under way: what an earlier process has stored of others is not needed.
struct KeepOnly {
  std::vector<std::string> runs;
};

// See whether the coordinator's log goes on from what was seen. One at a time.
struct LookAtLog {};

using Duty =
    std::variant<SendReply, Study, Train, StopTraining, PauseTraining, ResumeTraining, Submit,
                 StopSubmitting, Answer, EndAggregation, Forget, KeepOnly, LookAtLog>;
using Duties = std::vector<Duty>;

// All that a coordinator asks of one client, and where each of it stands. For
// each run:
//
//   invited -> studying -> declined -> studying, when it is invited again, or now and then
//                                      where the reason may pass
//                       -> accepted -> queued -> training -> submitting -> done
//                                        ^          |            |
//                                        +----------+------------+-- next assignment
//
// One assignment is trained at a time; those of other runs queue. Outside the
// policy's hours queued work waits and running work stands still. After a
// reconnect the coordinator repeats what it asks: what is being worked on goes
// on, and what was already found out, failed or finished is told again; but an attempt
// that starts from another adapter than before is new work. A secure
// round's aggregation has a life of its own, which begins with Submit; its messages
// are passed on to it whatever else is done for the attempt, as it may have begun
// in an earlier process.
//
// The coordinator's log is looked at when a session begins. Who refuses it, then or when a run
// or an attempt shows it, declines all runs at once, and looks at them again when somebody
// at the institution has accepted it.
//
// Pure: no thread, clock, socket or file. The caller passes instructions,
// reports and the time in and carries out the returned duties. Not thread-safe.
class ClientState {
 public:
  // Of so many runs at a time it knows anything, and keeps so much of their invitations and
  // of what else the coordinator has said of them; others it declines until one of these has
  // ended. Those that it has declined it forgets for others, and those of which a coordinator
  // that does not say which are under way has said nothing in this session: they may have
  // ended while the client was away.
  static constexpr size_t kMostRuns = 64;
  static constexpr size_t kMostInvitationBytes = size_t{256} << 20;

  ClientState(Hours hours, absl::TimeZone zone) : hours_(hours), zone_(zone) {}

  Duties Receive(const Instruction& instruction, const Moment& now);
  Duties Receive(const Report& report, const Moment& now);

  // A session has begun. Runs that are not under way any more are forgotten, and no
  // others: not because of time that passes, or of a coordinator that is gone again
  // before it has repeated its invitations.
  Duties Welcomed(const Welcome& welcome, const Moment& now);

  // Does what has become due; call it at wake_at(), on the clock that never jumps, and
  // now and then besides: the time of day may be set anew meanwhile.
  Duties Tick(const Moment& now);
  std::optional<absl::Duration> wake_at() const { return wake_at_; }

 private:
  enum class Stage : uint8_t {
    kIdle,    // Nothing was assigned.
    kQueued,  // Waits for the acceptance, the hours, or another run's round.
    kTraining,
    kSubmitting,
    kUnsent,  // The contribution is to be offered again at retry_at.
    kDone,    // The coordinator has all that it needs.
    kFailed,
    kOver,  // The coordinator wants nothing more.
  };

  struct RunState {
    std::optional<Invitation> invitation;
    std::optional<InvitationAnswer> answer;
    std::optional<Assignment> assignment;          // The newest.
    Stage stage = Stage::kIdle;                    // Of the assignment.
    std::string failure;                           // When kFailed.
    int64_t agreed_rounds = 0;                     // As AttemptFailed has it; when kFailed.
    Bytes unheard;                                 // Of an aggregation, until the run is studied.
    absl::Duration retry_at;                       // When kUnsent.
    std::optional<absl::Duration> put_off_until;   // When kQueued: it could not begin.
    std::optional<absl::Duration> look_again_at;   // When declined for want of something.
    absl::Duration looks_again_after;              // As long as it was the last time.
    std::optional<InvitationAnswer> told_decline;  // When it is looked at again; in this session.
    bool old_is_submitted = false;                 // Of an earlier assignment with the same id.
    absl::Duration progress_told_at = -absl::InfiniteDuration();
    std::optional<WorkProgress> progress;  // The newest, when kTraining.
    bool told_why_it_waits = false;
    // That it is under way, by this session's welcome or after it.
    bool is_told_of = true;
  };

  void Handle(const Invitation& invitation);
  void Handle(const Assignment& assignment);
  void Handle(const RoundOver& over);
  void Handle(const RunPause& pause);
  void Handle(const RunOver& over);
  void Handle(const SecureMessage& message);
  void Handle(const Studied& report);
  void Handle(const Progressed& report);
  void Handle(const Trained& report);
  void Handle(const Submitted& report);
  void Handle(const LogLooked& report);

  bool HasRoomFor(const std::string& run, size_t bytes) const;
  bool MakeRoomFor(const std::string& run, size_t bytes = 0);
  static bool IsDeclined(const RunState& run);
  void PlanToLookAgain(RunState& run);
  static bool MayHaveEnded(const RunState& run);
  static std::string WithoutRoom();
  void EndAllBut(std::vector<std::string> under_way);
  void End(const std::string& run);
  void Repeat(RunState& run);
  void HandIn(RunState& run);
  void Leave(RunState& run);
  void EndAggregationOf(const RunState& run);
  void Fail(RunState& run, const absl::Status& why);
  void TellFailure(const RunState& run);
  void TellWaitingForHours(RunState& run, absl::Time opens_at);
  void TellWaiting(RunState& run, std::string note);
  void Tell(Reply reply);

  // What is due after any event.
  Duties Settle();
  void FollowHours();
  void StartNext();
  void RetryLater(RunState& run);
  void PutOff(RunState& run, std::string_view why);
  void RetrySubmissions();
  void LookAgain();
  void StopUnwanted();
  void SetAlarm();

  // Of the coordinator's log; in client_state_log.cpp.
  void TakeFromStudy(const InvitationAnswer& answer);
  void RefuseLog(std::string_view why);
  void FindLogGood();
  void PlanToLookAtLog();
  void LookAtLogIfDue();

  bool CanStart(const RunState& run) const;
  RunState* Find(const AttemptId& id);

  const Hours hours_;
  const absl::TimeZone zone_;

  std::map<std::string, RunState> runs_;
  std::deque<std::string> queue_;      // The runs in kQueued, in order of arrival.
  std::optional<AttemptId> training_;  // Until it reports, even when stopped.
  bool paused_ = false;
  std::map<AttemptId, absl::Duration> unwanted_;  // Submissions, and when they are stopped.
  std::optional<absl::Duration> wake_at_;
  bool refuses_log_ = false;   // The coordinator's, until somebody here has accepted it.
  bool looks_at_log_ = false;  // LookAtLog has not been reported on.
  std::optional<absl::Duration> look_at_log_at_;

  Moment now_;     // Of the current call.
  Duties duties_;  // Of the current call.
};

}  // namespace fedtune
