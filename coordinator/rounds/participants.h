// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/open_round.h"
#include "coordinator/rounds/resume_point.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/rounds/secure_setting.h"
#include "plan/plan.h"

namespace fedtune {

// What a run knows of one institution, whatever the phase.
struct Participant {
  bool connected = false;
  bool accepted = false;
  bool declined = false;
  bool refuses_log = false;  // That is why it has declined.
  std::string reason;
  int64_t example_count = 0;
  int64_t rounds_contributed = 0;
  int64_t changes_of_mind = 0;     // Since the open attempt was opened.
  int64_t comings_and_goings = 0;  // Likewise.
  int64_t agreed_rounds = 0;       // The first so many are burnt for it; see Run::BurnAgreed().
  ProgressReported progress;
  std::optional<ContributionHeader> taken;  // The last one.
  std::optional<OpenWork> work;             // Of a round that has closed without it.
  std::optional<Blame> blame;

  // So often within an attempt that the rest is not in its journal, and must not matter.
  bool ComesAndGoes() const;
};
// What an institution says to its invitation.
struct ParticipantAnswer {
  bool accepts = false;
  std::string reason = "";    // If it does not.
  int64_t example_count = 0;  // If it does, and tells.
  bool refuses_log = false;   // That is why it does not.
};

// The institutions of one run: who has accepted, who is here, who sits out; and so who is
// asked in a round. Knows nothing of phases. Not thread-safe.
class Participants {
 public:
  // Who could take the place of those who sit out.
  enum class Others : uint8_t { kConnected, kAll };

  // Those that the plan lists are there from the beginning. `secure` as in Run::Options.
  Participants(const Plan& plan, const std::optional<SecureSetting>& secure);

  // Whether it is there, or may come.
  bool MayTakePart(const Institution& institution) const;

  // It is there from now on, if it was not before.
  Participant& Add(const Institution& institution) { return all_[institution]; }

  // Require that it is there.
  const Participant& at(const Institution& institution) const { return all_.at(institution); }
  Participant& at(const Institution& institution) { return all_.at(institution); }

  // Null if it is not there.
  const Participant* Find(const Institution& institution) const;

  // By name.
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }
  auto begin() { return all_.begin(); }
  auto end() { return all_.end(); }
  int64_t size() const { return std::ssize(all_); }

  // ---- Invitations ----

  bool AllHaveAnswered() const { return accepted_ + declined_ == size(); }
  bool QuorumHasAccepted() const { return accepted_ >= quorum_; }

  // No quorum has accepted, and with those that refuse the coordinator's log there would be one:
  // they take part as soon as the log is accepted there.
  bool LogIsRefusedByTooMany() const {
    return accepted_ < quorum_ && accepted_ + refusing_ >= quorum_;
  }

  // Where it is: who refuses it, and what is to be done.
  std::string WhyItWaitsForTheLog() const;

  // FAILED_PRECONDITION: fewer than the quorum are connected.
  absl::Status CheckQuorumIsConnected() const;

  // Where a quorum has not: who declined and who did not answer.
  std::string WhyTooFewAccepted() const;

  // With a number of records that cannot be, it declines. In secure runs nobody tells.
  ParticipantAnswer AnswerOf(const RunAccepted& event) const;
  static ParticipantAnswer AnswerOf(const RunDeclined& event);

  // Whether Answer() would change anything. `in_attempt`: an attempt is open, in which nobody
  // changes its mind again and again.
  bool Heeds(const Participant& from, const ParticipantAnswer& answer, bool in_attempt) const;

  // Whether it has changed anything. Who declines has no late work any more.
  bool Answer(const Institution& from, const ParticipantAnswer& answer, bool in_attempt);

  // ---- Rounds ----

  // Who is asked: drawn from those who are connected, where these are a quorum, and without
  // those who sit out, where the others are. `is_last_try`: if nobody else is to be had,
  // everyone.
  std::vector<Institution> Cohort(const RoundTask& task, bool is_last_try) const;

  // An attempt is opened.
  void ForgetLastAttempt();
  void LoseAllConnections();

  // They sit out from `next` on, unless the others are too few. Without a quorum of others
  // there is nothing to be gained; and whoever is late with older work is in the round
  // whatever comes. Gives back what is to be told.
  std::vector<ReportFault> PutBlame(const std::vector<Institution>& at_fault, int64_t round,
                                    int64_t next, std::string_view why, Others count);

  bool SitsOut(const Participant& participant, int64_t round) const;
  // Empty if it does not.
  std::string SittingOutText(const Participant& participant, int64_t round) const;

  // How many have agreed on the survivors of this round; whether they are at least `least`,
  // and without them there is no quorum.
  int64_t CountAgreed(int64_t round) const;
  bool IsAgreedByTooMany(int64_t round, int64_t least) const;

  // ---- What is stored of them ----

  void Restore(const ResumePoint::Client& from);
  void Restore(const AttemptOpened::Member& from);
  std::vector<AttemptOpened::Member> MembersOf(const OpenRound& round) const;
  BetweenRounds Between() const;

 private:
  bool IsEligible(const Institution& institution, const Participant& participant) const;
  std::vector<Institution> WithoutBlame(const std::vector<Institution>& candidates,
                                        int64_t round) const;
  void SetAnswer(Participant& participant, bool accepted, bool declined, bool refuses_log);

  int64_t quorum_;
  int64_t round_count_;
  int64_t most_in_cohort_;      // All: 0.
  int64_t most_in_evaluation_;  // Likewise.
  int64_t seed_;
  bool is_listed_;  // In the plan.
  // Of a secure run: who is on the signing roster.
  std::optional<std::set<Institution>> rostered_;

  std::map<Institution, Participant> all_;
  int64_t accepted_ = 0;
  int64_t declined_ = 0;
  int64_t refusing_ = 0;  // Of those.
};

}  // namespace fedtune
