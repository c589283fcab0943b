// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/participants.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "coordinator/rounds/cohort.h"
#include "coordinator/rounds/some_of.h"
#include "fmt/format.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

// Within an attempt. More than anybody has reasons for.
constexpr int64_t kMostChangesOfMind = 16;
constexpr int64_t kMostComingsAndGoings = 64;

constexpr int64_t kMostDoublings = 4;

std::optional<std::set<Institution>> RosteredIn(const std::optional<SecureSetting>& secure) {
  if (!secure.has_value()) return std::nullopt;
  std::set<Institution> rostered;
  for (const auto& [institution, number] : secure->numbers) rostered.insert(institution);
  return rostered;
}

}  // namespace

bool Participant::ComesAndGoes() const { return comings_and_goings >= kMostComingsAndGoings; }

Participants::Participants(const Plan& plan, const std::optional<SecureSetting>& secure)
    : quorum_(plan.rounds.quorum),
      round_count_(plan.rounds.count),
      most_in_cohort_(MostInCohort(plan)),
      most_in_evaluation_(secure.has_value() ? plan.secure.max_cohort : 0),
      seed_(plan.training.seed),
      is_listed_(!plan.rounds.institutions.empty()),
      rostered_(RosteredIn(secure)) {
  for (const std::string& name : plan.rounds.institutions) Add(Institution{name});
}

bool Participants::MayTakePart(const Institution& institution) const {
  return !is_listed_ || all_.contains(institution);
}

const Participant* Participants::Find(const Institution& institution) const {
  const auto found = all_.find(institution);
  return found == all_.end() ? nullptr : &found->second;
}

// ---- Invitations ----

absl::Status Participants::CheckQuorumIsConnected() const {
  std::vector<std::string_view> here;
  std::vector<std::string_view> missing;
  for (const auto& [institution, participant] : all_) {
    (participant.connected ? here : missing).push_back(institution.value);
  }
  if (std::ssize(here) >= quorum_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} clients are connected ({}), the plan's quorum is {}{}", here.size(),
                  here.empty() ? "none" : SomeOf(here, ", "), quorum_,
                  missing.empty() ? "" : "; offline: " + SomeOf(missing, ", ")));
}

std::string Participants::WhyTooFewAccepted() const {
  std::vector<std::string> others;
  for (const auto& [institution, participant] : all_) {
    if (participant.accepted) continue;
    others.push_back(participant.declined
                         ? fmt::format("{} declined: {}", institution.value, participant.reason)
                         : fmt::format("{} did not answer", institution.value));
  }
  return fmt::format("{} of the {} institutions needed accepted; {}", accepted_, quorum_,
                     SomeOf(std::move(others), "; "));
}

std::string Participants::WhyItWaitsForTheLog() const {
  std::vector<std::string> refusing;
  for (const auto& [institution, participant] : all_) {
    if (participant.refuses_log) refusing.push_back(institution.value);
  }
  return fmt::format(
      "{} of the {} institutions needed take part, until the coordinator's log is accepted "
      "(\"fedtune-client log accept\") at {}, which have seen another",
      accepted_, quorum_, SomeOf(std::move(refusing), ", "));
}

ParticipantAnswer Participants::AnswerOf(const RunAccepted& event) const {
  const bool tells = !rostered_.has_value();
  const int64_t least = tells ? 1 : 0;
  if (event.example_count < least || event.example_count > kMaxExamples) {
    return AnswerOf(
        RunDeclined{fmt::format("it reports {} records to train on; from 1 to {} can be",
                                event.example_count, kMaxExamples)});
  }
  return {.accepts = true, .example_count = tells ? event.example_count : 0};
}

ParticipantAnswer Participants::AnswerOf(const RunDeclined& event) {
  return {.accepts = false, .reason = ShortReason(event.reason), .refuses_log = event.refuses_log};
}

bool Participants::Heeds(const Participant& from, const ParticipantAnswer& answer,
                         bool in_attempt) const {
  const bool is_new = answer.accepts ? !from.accepted || from.example_count != answer.example_count
                                     : !from.declined || from.refuses_log != answer.refuses_log ||
                                           (!from.refuses_log && from.reason != answer.reason);
  return is_new && (!in_attempt || from.changes_of_mind < kMostChangesOfMind);
}

bool Participants::Answer(const Institution& from, const ParticipantAnswer& answer,
                          bool in_attempt) {
  Participant& participant = at(from);
  if (!Heeds(participant, answer, in_attempt)) return false;
  SetAnswer(participant, answer.accepts, !answer.accepts, answer.refuses_log);
  participant.reason = answer.reason;
  if (answer.accepts) {
    participant.example_count = answer.example_count;
  } else {
    participant.work.reset();
  }
  return true;
}

// The one place where an answer changes: the counts go with it.
void Participants::SetAnswer(Participant& participant, bool accepted, bool declined,
                             bool refuses_log) {
  accepted_ += int64_t{accepted} - int64_t{participant.accepted};
  declined_ += int64_t{declined} - int64_t{participant.declined};
  refusing_ += int64_t{refuses_log} - int64_t{participant.refuses_log};
  participant.accepted = accepted;
  participant.declined = declined;
  participant.refuses_log = refuses_log;
  ++participant.changes_of_mind;
}

// ---- Rounds ----

bool Participants::IsEligible(const Institution& institution,
                              const Participant& participant) const {
  return participant.accepted && (!rostered_.has_value() || rostered_->contains(institution));
}

std::vector<Institution> Participants::Cohort(const RoundTask& task, bool is_last_try) const {
  std::vector<Institution> accepted;
  std::vector<Institution> connected;
  for (const auto& [institution, participant] : all_) {
    if (!IsEligible(institution, participant)) continue;
    accepted.push_back(institution);
    if (participant.connected) connected.push_back(institution);
  }
  if (task.evaluate_only) {
    return DrawCohort(WithoutBlame(connected.empty() ? accepted : connected, task.round),
                      most_in_evaluation_, seed_, task.round);
  }
  // Of those who are away nobody knows who comes back. At the second try some have, and the
  // others may have gone for good.
  const bool enough = std::ssize(connected) >= quorum_;
  const bool all_are_needed = !enough && is_last_try && !connected.empty();
  const std::vector<Institution>& candidates = enough ? connected : accepted;
  std::vector<Institution> cohort =
      DrawCohort(all_are_needed ? candidates : WithoutBlame(candidates, task.round),
                 most_in_cohort_, seed_, task.round);
  // Whoever is late is in it, whatever the lots say.
  for (const Institution& institution : connected) {
    if (!at(institution).work.has_value()) continue;
    const auto place = std::lower_bound(cohort.begin(), cohort.end(), institution);
    if (place == cohort.end() || *place != institution) cohort.insert(place, institution);
  }
  return cohort;
}

void Participants::ForgetLastAttempt() {
  for (auto& [institution, participant] : all_) {
    participant.changes_of_mind = 0;
    participant.comings_and_goings = 0;
  }
}

void Participants::LoseAllConnections() {
  for (auto& [institution, participant] : all_) participant.connected = false;
}

// A plain evaluation is nothing that anybody could spoil.
bool Participants::SitsOut(const Participant& participant, int64_t round) const {
  if (round == round_count_ && !rostered_.has_value()) return false;
  return participant.blame.has_value() && round < participant.blame->back_in_round;
}

std::vector<ReportFault> Participants::PutBlame(const std::vector<Institution>& at_fault,
                                                int64_t round, int64_t next, std::string_view why,
                                                Others count) {
  const std::set<Institution> named(at_fault.begin(), at_fault.end());
  const auto others = std::count_if(all_.begin(), all_.end(), [&](const auto& entry) {
    const auto& [institution, participant] = entry;
    return (participant.connected || count == Others::kAll) &&
           IsEligible(institution, participant) && !named.contains(institution);
  });
  std::vector<ReportFault> told;
  if (others < quorum_) return told;
  for (const Institution& institution : named) {
    Participant& participant = at(institution);
    if (participant.work.has_value()) continue;
    Blame blame = participant.blame.value_or(Blame());
    blame.back_in_round = next + (int64_t{1} << std::min(blame.times, kMostDoublings));
    ++blame.times;
    blame.why = ShortReason(std::string(why));
    told.push_back({.institution = institution,
                    .round = round,
                    .what = blame.why,
                    .back_in_round = blame.back_in_round});
    participant.blame = std::move(blame);
  }
  return told;
}

// Everyone, if the others are too few.
std::vector<Institution> Participants::WithoutBlame(const std::vector<Institution>& candidates,
                                                    int64_t round) const {
  std::vector<Institution> others;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(others),
               [&](const Institution& each) { return !SitsOut(at(each), round); });
  return std::ssize(others) >= quorum_ ? others : candidates;
}

std::string Participants::SittingOutText(const Participant& participant, int64_t round) const {
  if (!SitsOut(participant, round)) return "";
  const Blame& blame = *participant.blame;
  if (blame.back_in_round >= round_count_) {
    return fmt::format("sits out the rest of the rounds: {}", blame.why);
  }
  return fmt::format("sits out until round {}: {}", blame.back_in_round + 1, blame.why);
}

int64_t Participants::CountAgreed(int64_t round) const {
  return std::count_if(all_.begin(), all_.end(), [round](const auto& entry) {
    return entry.second.accepted && entry.second.agreed_rounds > round;
  });
}

bool Participants::IsAgreedByTooMany(int64_t round, int64_t least) const {
  const int64_t agreed = CountAgreed(round);
  return agreed >= least && accepted_ - agreed < quorum_;
}

// ---- What is stored of them ----

void Participants::Restore(const ResumePoint::Client& from) {
  Participant& participant = Add(from.institution);
  SetAnswer(participant, from.accepted, from.declined, from.refuses_log);
  participant.reason = from.declined ? from.reason : "";
  participant.example_count = from.example_count;
  participant.rounds_contributed = from.rounds_contributed;
  participant.blame = from.blame;
  if (!from.declined) participant.work = from.work;  // As when it declined.
}

void Participants::Restore(const AttemptOpened::Member& from) {
  Participant& participant = Add(from.institution);
  participant.connected = from.connected;
  SetAnswer(participant, from.accepted, from.declined, from.refuses_log);
  participant.reason = from.reason;
  participant.example_count = from.example_count;
  participant.work = from.work;
  participant.blame = from.blame;
}

std::vector<AttemptOpened::Member> Participants::MembersOf(const OpenRound& round) const {
  std::vector<AttemptOpened::Member> members;
  for (const auto& [institution, participant] : all_) {
    members.push_back({.institution = institution,
                       .connected = participant.connected,
                       .accepted = participant.accepted,
                       .declined = participant.declined,
                       .reason = participant.reason,
                       .example_count = participant.example_count,
                       .in_cohort = round.Contains(institution),
                       .work = participant.work,
                       .blame = participant.blame,
                       .refuses_log = participant.refuses_log});
  }
  return members;
}

BetweenRounds Participants::Between() const {
  BetweenRounds between;
  for (const auto& [institution, participant] : all_) {
    if (participant.blame.has_value()) between.blamed.emplace(institution, *participant.blame);
    if (participant.work.has_value()) between.work.emplace(institution, *participant.work);
  }
  return between;
}

}  // namespace fedtune
