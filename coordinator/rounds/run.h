// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "coordinator/rounds/contribution_check.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/open_round.h"
#include "coordinator/rounds/participants.h"
#include "coordinator/rounds/resume_point.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/round_summary.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/rounds/run_view.h"
#include "coordinator/rounds/secure_setting.h"
#include "coordinator/rounds/session_numbers.h"
#include "plan/plan.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/coordinator_session.h"

namespace fedtune {

// What CheckContribution() says to a contribution that is in order.
struct Admission {
  bool repeated = false;  // The same one has been taken before: answer, add nothing.
  int64_t weight = 1;     // Of this contribution in the sum.
  bool late = false;      // It is of a round or an attempt before the open one.
  // Records of its sender; when it was taken, if it is repeated in its round.
  int64_t example_count = 0;
  // It carries an evaluation and no values: there is nothing to add to the sum.
  bool evaluate_only = false;
  // Of a masked input: the Merkle root that its chunks must have.
  std::optional<Digest> chunk_root = std::nullopt;
};

// One run, from the invitations to its end:
//
//   Inviting -> Training -> Releasing -> Training -> ... -> Ended
//                 |  ^                   (the last one only evaluates)
//                 +--+ second attempt
//
// With a secure aggregation between training and the release:
//
//   Training -> Aggregating -> Releasing
//
// Training then ends with the clients' keys instead of their contributions. The
// aggregation's phases each have the plan's phase deadline, the upload that of a
// round. Once clients may have agreed on whose input counts, the round is never
// tried again: it burns, is over, and leaves the adapter as it was. Two in a row end
// the run, and a run all of whose rounds have burnt has failed. No more clients are
// asked than the plan's max_cohort says. A run whose state is older than its clients',
// as after a restore, burns the rounds in which they say that they have agreed.
//
// Clients because of which an attempt or a round has come to nothing, as they failed, dropped
// out, did not answer in time or were in a sum that is impossible once its masks are off, sit
// out: the rest of the round's attempts, or the round after the one that burnt, and each further
// time for twice as many rounds, up to 16. While the others are too few for a quorum they take
// part all the same. Where fewer than a quorum are connected, as when a process has just started,
// whoever has accepted counts; at the second try all are asked then, once anybody has come.
// A client that changes its answer again and again within an attempt is not heard until the
// next one: the journal of the attempt keeps each of them.
//
// Inviting ends when every invited client has answered, or at the invitation timeout; without a
// quorum of acceptances by then it goes on until the quorum is full. Without a quorum when all have
// answered, or one round deadline after the start, the run fails.
//
// A round's cohort is drawn from the clients that have accepted and are connected; from all that
// have accepted when these are below the quorum. Clients that connect or accept later take part
// from the next round. Training ends when everyone in the cohort has contributed or failed, when as
// many have contributed as the plan's close_at says, or at the deadline; a client that goes away is
// waited for, and gets its work again when it comes back. Below the quorum (at the deadline, or as
// soon as it cannot be reached any more) the attempt's contributions are discarded and the round is
// tried once more, if a quorum of clients is left; then the run fails and says who was missing.
//
// The final evaluation has no quorum and waits only a moment for clients that go away: what there
// is counts. A run that ends without one has finished all the same, and says why it is missing.
//
// Where the plan keeps stragglers, a client that has not answered when its round closes works on,
// and what it hands in counts in the round that is open then, by WeightOf(). Until then it is in
// the cohort of each round in which it is connected, with this work and no other, up to the plan's
// max_staleness; then it is told to stop and gets the work of the open round. A client counts once
// in a round.
//
// In an asynchronous run, too; and there a client whose contribution was of an older round gets the
// work of the open one at once. What it hands in then counts in the next round.
//
// When contributions turn out to be lost, the round is open again without them: whoever has not
// answered is asked, up to the deadline that the round had, or ten minutes.
//
// Clients that refuse the coordinator's log, as after a restore, have declined until it is accepted
// at their institution. Where no quorum is left without them, the run invites again and waits for
// them, without a deadline; an attempt that was open is given up for another one, which is no
// second try.
//
// A run that is to pause finishes its open round, all its attempts included, and then
// opens no other one; before its first round it pauses at once. Clients may connect,
// accept and decline meanwhile. Nothing waits for the time.
//
// A run that is resumed with the journal of its open attempt is where it was when the last
// entry was written, and goes on: no time has passed since. If the signing roster is another one
// than the attempt's, a secure round takes a new attempt, or burns if clients may have agreed.
//
// Pure protocol: no thread, clock, socket or file. The caller passes events and
// the time in (`now`, on a clock that never jumps), stores what has changed,
// then carries out the effects in their order. Invitations, assignments,
// closings and endings are only for clients that are connected; one that
// connects gets again whatever is still asked of it, its invitation first.
// An event that moves no phase takes time logarithmic in the number of clients, in a
// secure round one linear in its cohort; a change of the phase, and view(), linear.
// Not thread-safe.
class Run {
 public:
  struct Options {
    RunId id;
    Plan plan;
    AdapterLayout layout;
    Digest adapter;                      // The initial one, or the newest release when resumed.
    std::vector<Institution> connected;  // Now.
    absl::Duration invitation_timeout = absl::Minutes(1);
    bool final_evaluation = true;
    std::optional<ResumePoint> resume = std::nullopt;
    std::optional<SecureSetting> secure = std::nullopt;  // Set if and only if the plan is secure.
    RoutingShape routing = {};                           // Of the base model.
  };

  // Begins (or goes on with) a run and appends what is to be done to `effects`.
  //
  // FAILED_PRECONDITION: fewer clients are connected than the quorum; not when
  // resumed. DATA_LOSS: the journal is not of this run's next round. When it goes on
  // with one, NewProcess is the journal's next entry.
  static absl::StatusOr<Run> Start(Options options, absl::Duration now, Effects& effects);

  // Takes one client's event. Events of institutions that do not take part and
  // events about rounds that are not open change nothing.
  Effects Receive(const Institution& from, ClientEvent event, absl::Duration now);

  // Whether Receive() would do anything about it now that matters to the round: ask
  // before writing it into a journal, which is to grow by nothing else.
  bool Heeds(const Institution& from, const ClientEvent& event) const;

  // Takes an event of the driver or of an administrator. StopRequested while
  // releasing takes effect after the release.
  Effects Receive(RunEvent event, absl::Duration now);

  // Ends the current phase if deadline() has passed; call it at deadline().
  Effects Tick(absl::Duration now);

  // Whether a pause would hold something back: a round, or the final evaluation, is
  // still to be opened.
  bool CanPause() const;

  // When Tick() is due; none when nothing waits for the time.
  std::optional<absl::Duration> deadline() const;

  // Whether a contribution may be taken now. Ask before reading its bytes, and
  // again before adding them to the sum and reporting ContributionTaken.
  //
  // PERMISSION_DENIED: not in the cohort of this round.
  // FAILED_PRECONDITION: the round or attempt is not open, was trained from
  // another adapter, or another contribution of this client has been taken.
  // INVALID_ARGUMENT: wrong layout, factors or size, or metrics out of range.
  absl::StatusOr<Admission> CheckContribution(const Institution& from,
                                              const ContributionHeader& header) const;

  const RunId& id() const { return id_; }
  RunState state() const;
  RunView view() const;

  // Of view().clients the one with this name; none when it does not take part.
  std::optional<ClientView> ViewOf(const Institution& institution) const;

 private:
  using Others = Participants::Others;

  struct Inviting {
    absl::Duration timeout;   // After which a quorum is enough.
    absl::Duration deadline;  // After which the run fails without one.
    bool timed_out = false;
  };
  struct Training {
    OpenRound round;
    std::optional<CoordinatorSession> session;  // Of a secure run.
    // When those who are away are not waited for any more, in the final evaluation.
    std::optional<absl::Duration> away_until = std::nullopt;
  };
  struct Aggregating {
    OpenRound round;
    CoordinatorSession session;
    absl::Duration deadline;  // Of the session's phase.
    size_t faults_told = 0;
  };
  struct Releasing {
    OpenRound round;
    std::vector<Institution> contributors;
    bool counts_as_burnt = true;  // If nobody has contributed, for how many have in a row.
    std::optional<std::string> stop_reason = std::nullopt;  // Asked for meanwhile.
  };
  struct Paused {};  // No round is open; pause_ says why.
  struct Ended {
    RunState state = RunState::kFinished;
    std::string reason;
  };
  using Phase = std::variant<Inviting, Training, Aggregating, Releasing, Paused, Ended>;

  // The time, and what follows from the event so far.
  struct Step {
    absl::Duration now;
    Effects& effects;
  };

  explicit Run(Options options);

  void Restore(const ResumePoint& point);
  void GoOn(Step& step);

  // Of a resumed attempt; in run_replay.cpp.
  absl::Status Replay(const ResumePoint& point, Step& step);
  absl::Status ReplayOpening(const AttemptOpened& opened, Step& step);
  std::vector<Institution> RestoreMembers(const AttemptOpened& opened);
  void LeaveOldRoster(const AttemptOpened& opened, const ResumePoint& point, Step& step);
  void ReplayEntry(const JournalEntry& entry, Step& step);
  void EmitRestored(const Effects& replayed, const AttemptOpened& opened, Step& step);
  void LoseAllConnections(const Step& step);
  void Reconnect(const std::vector<Institution>& connected, Step& step);
  static void Append(Effects effects, Step& step);

  // One for each kind of event; `from` is known.
  void Handle(const Institution& from, const ClientConnected& event, Step& step);
  void Handle(const Institution& from, const ClientDisconnected& event, Step& step);
  void Handle(const Institution& from, const RunAccepted& event, Step& step);
  void Handle(const Institution& from, const RunDeclined& event, Step& step);
  void Handle(const Institution& from, const ProgressReported& event, Step& step);
  void Handle(const Institution& from, const ContributionTaken& event, Step& step);
  void Handle(const Institution& from, const ClientFailed& event, Step& step);
  void Handle(const Institution& from, const SecureMessageReceived& event, Step& step);
  void Handle(const Released& event, Step& step);
  void Handle(const ReleaseFailed& event, Step& step);
  void Handle(const ContributionsLost& event, Step& step);
  void Handle(const StopRequested& event, Step& step);
  void Handle(const PauseRequested& event, Step& step);
  void Handle(const ResumeRequested& event, Step& step);

  // The transitions. Advance() makes those that are due.
  void Advance(Step& step);
  bool AdvanceInviting(Step& step);
  bool AdvanceTraining(Step& step);
  void BeginRound(int64_t round, Step& step);
  void OpenAttempt(int64_t round, int64_t attempt, Step& step);
  void OpenAttempt(const RoundTask& task, const std::vector<Institution>& cohort, Step& step);
  RoundTask TaskOf(int64_t round, int64_t attempt, absl::Duration now) const;
  AttemptOpened Opened(const OpenRound& round) const;
  void CloseTraining(Step& step);
  void RetryOrFail(Step& step, std::string_view why = "", std::vector<Institution> at_fault = {});
  void FinishEvaluation(Step& step);
  static void WaitForThoseAway(Training& training, const Step& step);
  void GiveUpThoseAway(Training& training) const;
  void Finish(const RoundSummary& evaluated, Step& step);
  void FinishUnevaluated(std::string_view why, Step& step);
  void EndWithoutARound(Step& step);
  bool MayGiveUpForTheLog(const RoundTask& task) const;
  void WaitForTheLog(Step& step);
  void End(RunState state, std::string reason, Step& step);

  // Of pauses; in run_pause.cpp.
  void TellPause(const Institution& institution, Step& step) const;
  void TellPauseToAll(Step& step) const;
  Inviting InvitingFrom(absl::Duration now) const;

  // Of stragglers; in run_stragglers.cpp.
  bool KeepsStragglers() const { return plan_.rounds.stragglers == Stragglers::kKeep; }
  bool IsItsWork(const Institution& institution, int64_t round, int64_t attempt) const;
  void KeepWorkOfExpected(const OpenRound& round);
  void GiveNewest(const Institution& institution, const OpenRound& round, Step& step);
  void EndOldWork(const RoundTask& next, Step& step);
  void SendWork(const Institution& institution, const OpenRound& round, Step& step);
  absl::StatusOr<Admission> CheckLate(const Institution& from, const OpenWork& work,
                                      const ContributionHeader& header) const;

  // Of secure runs; in run_secure.cpp.
  absl::StatusOr<CoordinatorSession> NewSession(const RoundTask& task,
                                                const std::vector<Institution>& cohort) const;
  absl::Status TakeKeys(const Institution& from, const SecureMessageReceived& event);
  void BeginAggregating(Step& step);
  bool AdvanceAggregating(Step& step, bool time_is_up);
  void AskOpenQuestions(Step& step);
  void AskOpenQuestion(const Institution& institution, Step& step) const;
  void TellFaults(Step& step);
  void ReleaseSecureSum(Step& step);
  void GiveUpAggregating(CoordinatorSession::Phase reached, Step& step);
  void LoseSum(std::string_view why, Step& step);
  void BurnRound(const RoundTask& task, std::string_view why,
                 const std::vector<Institution>& at_fault, Step& step,
                 Others others = Others::kConnected);
  void BurnUncounted(const RoundTask& task, std::string_view why, Step& step);
  void ReleaseNothing(const RoundTask& task, std::string_view why, bool counts, Step& step);
  void BurnAgreed(const RoundTask& task, Step& step);
  void BurnImpossible(std::string_view reason, Step& step);
  void CountRound(const Releasing& releasing);
  int64_t AgreedRounds(const ClientFailed& event) const;
  absl::StatusOr<Admission> CheckMaskedInput(const Institution& from,
                                             const ContributionHeader& header) const;

  bool HasEnough(const OpenRound& round) const;
  bool IsOpenToNew() const;     // A round is still to come.
  bool WaitsForTheLog() const;  // Nothing else: no deadline, either.
  bool HasAnOpening() const;    // And so a journal: of an attempt that is open, or was given up.
  bool HasWhoIsNeeded() const;  // For what comes next; the final evaluation has no quorum.
  bool HeedsAnswer(const Participant& client, const ParticipantAnswer& answer) const;
  void TakeAnswer(const Institution& from, const ParticipantAnswer& answer, const Step& step);
  void PutBlame(const std::vector<Institution>& at_fault, const RoundTask& task, int64_t next,
                std::string_view why, Step& step, Others count = Others::kConnected);

  // The open attempt in which `from` is still to answer; null if there is none.
  OpenRound* AwaitedRound(const Institution& from);
  bool HeedsConnection(const Institution& from, const Participant& client) const;
  bool HeedsFailure(const Institution& from, const ClientFailed& event) const;
  bool HeedsMessage(const Institution& from, const SecureMessageReceived& event) const;
  void SendAssignment(const Institution& institution, const OpenRound& round, Step& step);
  void CloseForExpected(const OpenRound& round, std::string_view reason, Step& step) const;
  void Remember(const std::optional<EvaluationSummary>& evaluation);
  const OpenRound* CurrentRound() const;
  const CoordinatorSession* CurrentSession() const;
  ExpectedContribution Expected(const RoundTask& task) const;
  Admission Admitted(int64_t example_count, int64_t staleness) const;
  Admission Repeated(const Institution& institution, const Participant& client) const;
  std::string_view PhaseName() const;
  RunPhase CurrentPhase() const;
  bool Awaits(const Institution& institution, const Participant& client) const;
  ClientView ViewOf(const Institution& institution, const Participant& client) const;

  RunId id_;
  Plan plan_;
  Digest layout_;
  int64_t values_a_ = 0;
  int64_t values_b_ = 0;
  bool final_evaluation_ = true;
  absl::Duration invitation_timeout_;
  std::optional<SecureSetting> secure_;
  AdapterLayout adapter_layout_;
  RoutingShape routing_;
  int64_t burnt_in_a_row_ = 0;
  int64_t rounds_burnt_ = 0;

  SessionNumbers numbers_;  // Of secure_; none in a plain run.
  Participants clients_;
  Phase phase_;
  Digest adapter_;
  int64_t rounds_done_ = 0;
  int64_t tries_ = 0;                 // Attempts at the current round since it was reached.
  int64_t attempts_before_ = 0;       // Of the next round, in an earlier process.
  int64_t attempts_given_up_ = 0;     // Of it, before anybody could agree in one.
  std::optional<std::string> pause_;  // Asked for, with the reason.
  std::optional<RoundSummary> last_round_;
  std::optional<EvaluationSummary> first_evaluation_;
  std::optional<EvaluationSummary> last_evaluation_;
};

}  // namespace fedtune
