// SPDX-License-Identifier: Apache-2.0

// Who sits out because attempts or rounds have come to nothing because of it.

#include <algorithm>
#include <iterator>
#include <set>

#include "coordinator/rounds/run.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int64_t kMostDoublings = 4;

}  // namespace

// A plain evaluation is nothing that anybody could spoil.
bool Run::SitsOut(const Client& client, int64_t round) const {
  if (round == plan_.rounds.count && !secure_.has_value()) return false;
  return client.blame.has_value() && round < client.blame->back_in_round;
}

// Without a quorum of others there is nothing to be gained; and whoever is late with older
// work is in the round whatever comes.
void Run::PutBlame(const std::vector<Institution>& at_fault, const RoundTask& task, int64_t next,
                   std::string_view why, Step& step, Others count) {
  const std::set<Institution> named(at_fault.begin(), at_fault.end());
  const auto others = std::count_if(clients_.begin(), clients_.end(), [&](const auto& entry) {
    const auto& [institution, client] = entry;
    return (client.connected || count == Others::kAll) && IsEligible(institution, client) &&
           !named.contains(institution);
  });
  if (others < plan_.rounds.quorum) return;
  for (const Institution& institution : named) {
    if (clients_.at(institution).work.has_value()) continue;
    Blame blame = clients_.at(institution).blame.value_or(Blame());
    blame.back_in_round = next + (int64_t{1} << std::min(blame.times, kMostDoublings));
    ++blame.times;
    blame.why = ShortReason(std::string(why));
    step.effects.push_back(ReportFault{.institution = institution,
                                       .round = task.round,
                                       .what = blame.why,
                                       .back_in_round = blame.back_in_round});
    clients_.at(institution).blame = std::move(blame);
  }
}

// Everyone, if the others are too few.
std::vector<Institution> Run::WithoutBlame(const std::vector<Institution>& candidates,
                                           int64_t round) const {
  std::vector<Institution> others;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(others),
               [&](const Institution& each) { return !SitsOut(clients_.at(each), round); });
  return std::ssize(others) >= plan_.rounds.quorum ? others : candidates;
}

std::string Run::SittingOutText(const Client& client) const {
  if (!SitsOut(client, rounds_done_)) return "";
  if (client.blame->back_in_round >= plan_.rounds.count) {
    return fmt::format("sits out the rest of the rounds: {}", client.blame->why);
  }
  return fmt::format("sits out until round {}: {}", client.blame->back_in_round + 1,
                     client.blame->why);
}

}  // namespace fedtune
