// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/round_counters.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_summary.h"

namespace fedtune {

// What an attempt of a round is about.
struct RoundTask {
  int64_t round = 0;
  int64_t attempt = 1;
  FactorSet factors = FactorSet::kBoth;
  bool evaluate = false;
  bool evaluate_only = false;
  absl::Duration deadline;
  // What contributions count of the base model's experts: nothing when they are
  // masked, or only evaluate.
  RoutingShape routing = {};

  bool Is(int64_t a_round, int64_t an_attempt) const {
    return round == a_round && attempt == an_attempt;
  }
};

// One attempt of a round while its cohort works: who has answered and how. The
// caller knows the rules; this keeps the tally. Not thread-safe.
class OpenRound {
 public:
  OpenRound(RoundTask task, const std::vector<Institution>& cohort);

  const RoundTask& task() const { return task_; }

  bool Contains(const Institution& institution) const;

  // In the cohort, and neither contributed nor failed so far.
  bool Expects(const Institution& institution) const;

  bool HasContributed(const Institution& institution) const;
  // Both require it.
  int64_t ExampleCountOf(const Institution& institution) const {
    return members_.at(institution).example_count;
  }
  int64_t WeightOf(const Institution& institution) const { return members_.at(institution).weight; }
  bool HasFailed(const Institution& institution) const;
  // Why; empty if it has not failed.
  std::string_view FailureOf(const Institution& institution) const;

  // Require Expects(institution).
  void Contribute(const Institution& institution, int64_t weight, int64_t example_count,
                  const ClientMetrics& metrics);
  void Fail(const Institution& institution, std::string reason);
  // Its contribution is lost: it is expected again, until then at least. Requires
  // HasContributed(institution).
  void TakeBack(const Institution& institution, absl::Duration until);
  // One more in the cohort. Requires that it is not there.
  void Add(const Institution& institution);
  // Takes it out of the cohort.
  void Remove(const Institution& institution);

  int64_t contributed() const { return contributed_; }
  int64_t expected() const { return expected_; }

  // Those still expected, by name.
  std::vector<Institution> Expected() const;
  std::vector<Institution> Contributors() const;

  // Why those in the cohort that have not contributed have not, by name: "uke
  // failed: out of memory", "helios did not answer" (when `time_is_up`).
  std::vector<std::string> Missing(bool time_is_up) const;

  // The same without the reasons.
  std::vector<Institution> AtFault(bool time_is_up) const;

  RoundSummary Summary() const;

 private:
  enum class Answer : uint8_t { kStranger, kNone, kContributed, kFailed };
  struct Member {
    Answer answer = Answer::kNone;
    std::string reason;
    int64_t weight = 0;
    int64_t example_count = 0;
    ClientMetrics metrics;
  };

  Answer AnswerOf(const Institution& institution) const;
  std::vector<Institution> With(Answer answer) const;

  RoundTask task_;
  std::map<Institution, Member> members_;
  int64_t contributed_ = 0;
  int64_t expected_ = 0;
};

}  // namespace fedtune
