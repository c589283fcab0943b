// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/run_store.h"
#include "plan/plan.h"
#include "privacy/crypto/canonical_bytes.h"
#include "proto/fedtune/v1/training.pb.h"
#include "tests/simulation/plan_of_faults.h"
#include "tests/support/optimized_adapter.h"

namespace fedtune::simulation {

// Sees what crosses the network and what reaches the disk, and knows what must
// hold of it:
//
//   I1  what was acknowledged or announced is there after any crash; no round opens in
//       a pause, no attempt is numbered twice; no client is told to forget a run that
//       has not ended
//   I2  a client is counted in a round once or not at all, and only if it was asked;
//       what it hands in is counted in one round at most
//   I3  one release for each round, made from the one before it, for ever
//   I4  a release is, to the bit, the step by the sum over exactly its contributors, each
//       with the weight that its records and its lateness give it
//   I5  in a round a client agrees on one set of survivors at most and says each
//       thing one way; no key and no mask serves twice; the coordinator names one set
//   I8  every attempt ends within its deadlines and 30 s, the run with a reason
//
// Not here: I6, as there is no privacy ledger, and I7, as the store in memory keeps no log of
// changes (audit_log_test).
class Auditor {
 public:
  // `schedule` must outlive it.
  Auditor(const SchedulePlan& schedule, std::function<void(std::string_view)> on_violation);

  // ---- What crosses the network ----
  void Told(const Institution& client, const v1::CoordinatorMessage& message);
  void Said(const Institution& client, const v1::ClientMessage& message);
  void Submits(const Institution& client, const v1::ContributionHeader& header,
               std::string_view bytes);
  // What is masked, without its masks.
  void Masks(const Institution& client, int64_t round, int64_t attempt,
             std::vector<uint32_t> elements);
  void Acknowledged(const Institution& client, int64_t round, int64_t attempt);

  // An administrator was told that the run stops, is tried again, opens no round after
  // this one for now, or was not told yet that it goes on.
  void Stopped();
  void Retried() {
    last_round_.reset();
    last_round_before_pause_.reset();
  }
  void Paused(int64_t last_round) { last_round_before_pause_ = last_round; }
  void Resumes() { last_round_before_pause_.reset(); }

  // ---- What reaches the disk ----
  void Started(const RunRecord& run, std::vector<float> adapter);
  void Journalled(const std::string& entry);
  void Released(const NewRelease& release);
  // Asked when the coordinator says something.
  std::function<std::optional<RunRecord>()> disk;

  // ---- Time ----
  // The coordinator's own view of its run; none while it is not running.
  std::function<std::optional<RunView>()> view;
  void AfterEach(absl::Duration now);
  // A new process has begun, with this attempt at the round after `rounds_done` in its
  // journal; none: there was nothing to go on with. `may_be_over`: by what is in the
  // journal the attempt may have failed.
  void Restarted(std::optional<int64_t> attempt, int64_t rounds_done, bool may_be_over);
  // A process has begun, or the store has been out of order until now.
  void Excuse(absl::Duration now);
  // The schedule is over.
  void AtTheEnd();

  const std::vector<std::string>& violations() const { return violations_; }
  const std::vector<Digest>& adapters() const { return adapters_; }
  int64_t released() const { return static_cast<int64_t>(adapters_.size()) - 1; }
  int64_t counted() const { return counted_; }  // Contributions in all.
  int64_t late() const { return late_; }        // Of them, of earlier rounds.
  int64_t burnt() const { return burnt_; }      // Rounds.
  const AdapterLayout& layout() const { return *layout_; }
  const Plan& plan() const { return plan_; }

 private:
  using Attempt = std::pair<int64_t, int64_t>;  // Round and attempt.
  using Asked = std::tuple<Institution, int64_t, int64_t>;

  void Violates(std::string_view what);
  void Expect(bool holds, std::string_view what) {
    if (!holds) Violates(what);
  }
  // A contribution on the disk: where it counts, and in which round it was trained.
  struct Taken {
    Attempt home;
    Asked asked;
  };
  using Sent = std::pair<Institution, Digest>;

  void ToldWhatIsUnderWay(const v1::Welcome& welcome);
  void ToldAssignment(const Institution& client, const v1::RoundAssignment& assignment);
  void ToldSecurely(const v1::SecureAggregationMessage& message);
  void CheckContributors(const NewRelease& release, const Attempt& attempt);
  void CheckOrigin(const ContributionRecord& contribution, const Attempt& attempt);
  void CheckAcknowledged(const NewRelease& release, const Attempt& attempt);
  Asked OriginOf(const ContributionRecord& contribution, const Attempt& attempt) const;
  int64_t WeightOf(const ContributionRecord& contribution, const Attempt& attempt) const;
  void CheckSum(const NewRelease& release, const Attempt& attempt);
  absl::StatusOr<testing::OptimizedAdapter> PlainStep(const NewRelease& release) const;
  absl::StatusOr<testing::OptimizedAdapter> SecureStep(const NewRelease& release,
                                                       const Attempt& attempt) const;
  absl::Duration LongestAttempt() const;

  const SchedulePlan& schedule_;
  const std::function<void(std::string_view)> on_violation_;
  const Plan plan_;
  std::optional<AdapterLayout> layout_;
  std::vector<std::string> violations_;

  std::optional<int64_t> last_round_;               // After which it is to stop.
  std::optional<int64_t> last_round_before_pause_;  // None: it is not paused.
  std::vector<Digest> adapters_;                    // The initial one and the releases'.
  testing::OptimizedAdapter newest_;
  int64_t counted_ = 0;
  int64_t late_ = 0;
  int64_t burnt_ = 0;
  std::set<Asked> asked_;
  std::set<Asked> submitted_;
  std::set<Asked> acknowledged_;
  Attempt open_;                        // The last that was.
  std::map<Sent, Taken> taken_;         // The last that was taken of each.
  std::map<Sent, int64_t> counted_in_;  // Rounds.
  std::map<std::pair<Asked, Digest>, std::vector<float>> deltas_;
  std::map<Asked, std::vector<uint32_t>> elements_;
  std::set<std::pair<Institution, int64_t>> reported_;  // How many records they say they have.
  std::map<std::pair<Asked, int>, Digest> said_;
  std::map<std::pair<Institution, int64_t>, int64_t> agreed_in_;
  std::map<std::pair<Institution, Bytes>, Attempt> mask_keys_;
  std::map<Attempt, Bytes> survivors_;
  std::map<int64_t, int64_t> survivors_in_;

  absl::Duration checked_ = absl::ZeroDuration();
  std::tuple<int64_t, int64_t, RunState> at_;
  absl::Duration since_ = absl::ZeroDuration();
};

}  // namespace fedtune::simulation
