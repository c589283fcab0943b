// SPDX-License-Identifier: Apache-2.0

// What clients answer to their invitations.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/rounds/run.h"
#include "coordinator/rounds/some_of.h"
#include "fmt/format.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

// Within an attempt. More than anybody has reasons for.
constexpr int64_t kMostChangesOfMind = 16;

// What it comes to if it cannot take part with so many. In secure runs nobody tells.
std::optional<RunDeclined> RefusalOf(const RunAccepted& event, bool tells) {
  const int64_t least = tells ? 1 : 0;
  if (least <= event.example_count && event.example_count <= kMaxExamples) return std::nullopt;
  return RunDeclined{fmt::format("it reports {} records to train on; from 1 to {} can be",
                                 event.example_count, kMaxExamples)};
}

}  // namespace

bool Run::MayChangeItsMind(const Client& client) const {
  return CurrentRound() == nullptr || client.changes_of_mind < kMostChangesOfMind;
}

bool Run::HeedsAnswer(const Client& client, const RunAccepted& event) const {
  const bool tells = !secure_.has_value();
  if (const auto refusal = RefusalOf(event, tells)) return HeedsAnswer(client, *refusal);
  const int64_t examples = tells ? event.example_count : 0;
  const bool is_new = !client.accepted || client.example_count != examples;
  return is_new && MayChangeItsMind(client);
}

bool Run::HeedsAnswer(const Client& client, const RunDeclined& event) const {
  const bool is_new = !client.declined || client.reason != ShortReason(event.reason);
  return is_new && MayChangeItsMind(client);
}

void Run::Handle(const Institution& from, const RunAccepted& event, Step& step) {
  const bool tells = !secure_.has_value();
  if (const auto refusal = RefusalOf(event, tells)) return Handle(from, *refusal, step);
  Client& client = clients_[from];
  if (!HeedsAnswer(client, event)) return;
  Answer(client, true, false);
  client.reason.clear();
  client.example_count = tells ? event.example_count : 0;
}

void Run::Handle(const Institution& from, const RunDeclined& event, Step&) {
  Client& client = clients_[from];
  if (!HeedsAnswer(client, event)) return;
  Answer(client, false, true);
  client.reason = ShortReason(event.reason);
  client.work.reset();
  if (OpenRound* round = AwaitedRound(from)) round->Remove(from);
}

// The one place where an answer changes: the counts go with it.
void Run::Answer(Client& client, bool accepted, bool declined) {
  accepted_ += int64_t{accepted} - int64_t{client.accepted};
  declined_ += int64_t{declined} - int64_t{client.declined};
  client.accepted = accepted;
  client.declined = declined;
  ++client.changes_of_mind;
}

std::string Run::WhyTooFewAccepted() const {
  std::vector<std::string> others;
  for (const auto& [institution, client] : clients_) {
    if (client.accepted) continue;
    others.push_back(client.declined
                         ? fmt::format("{} declined: {}", institution.value, client.reason)
                         : fmt::format("{} did not answer", institution.value));
  }
  return fmt::format("{} of the {} institutions needed accepted; {}", accepted_,
                     plan_.rounds.quorum, SomeOf(std::move(others), "; "));
}

}  // namespace fedtune
