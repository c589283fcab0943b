// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/driver/contributions/handed_in.h"
#include "coordinator/driver/contributions/masked_sum.h"
#include "coordinator/driver/contributions/round_sum.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/spool_pack.h"

namespace fedtune {

// What one attempt of a round has gathered. Neither: a plain round that only evaluates, or
// none is open.
using AttemptSum = std::variant<std::monostate, RoundSum, MaskedSum>;

// The contributions that the open attempt of a run has taken: on the disk, until the next
// attempt begins, and in the sum of which the release is made. Not thread-safe.
class AttemptContributions {
 public:
  // `spool` must outlive it.
  AttemptContributions(const Spool& spool, const RunId& run) : pack_(spool, run.value) {}

  // For what is on its way in. Thread-safe.
  SpoolPack& pack() { return pack_; }

  // Nothing of what was taken is wanted any more. Its space on the disk is free once what
  // this returns was called, which may take a while.
  [[nodiscard]] std::function<void()> Forget();

  // Contributions go into this sum from now on.
  void Open(AttemptSum sum) { sum_ = std::move(sum); }

  // The sum; none is open from then on.
  AttemptSum TakeSum() { return std::exchange(sum_, std::monostate{}); }

  // The run is over: nothing more comes.
  void Close();

  // Whether an admitted one can be added. Requires: masked inputs come while their sum is
  // open.
  //
  // ABORTED: a round that has opened meanwhile has removed it. UNAVAILABLE: as
  // SpooledBytes::CheckCanKeep(). Else as WeightedSum::CanAdd().
  absl::Status CheckCanAdd(const HandedIn& handed, const Admission& admission) const;

  // Those that are to be added together, each of which can be added. The sum takes them
  // all if it takes as many of the largest of their values.
  class Together {
   public:
    explicit Together(const AttemptContributions& contributions)
        : sum_(std::get_if<RoundSum>(&contributions.sum_)) {}

    // Whether there is room for one more beside those that have joined; then it has joined.
    // The first one always has room.
    bool Join(const HandedIn& handed, int64_t weight);

   private:
    const RoundSum* sum_;  // Null: there is room for any number.
    const VerifiedValues* largest_ = nullptr;
    int64_t weight_ = 0;
  };

  // Brings onto the disk what of them is not there yet. Requires: each can be added.
  // UNAVAILABLE: it does not take them now.
  absl::Status Keep(std::span<HandedIn* const> together);

  // They could not be stored: their space on the disk is free once they are gone.
  static void Unkeep(std::span<HandedIn* const> together);

  // A plain one goes nowhere where its round only evaluates. Errors as WeightedSum::Add();
  // nothing has changed then.
  absl::Status Add(ContributionBody body, ContributionRecord record);

  // Takes this one out of the sum, if it is there, and its file from the spool. Whose it
  // was.
  std::vector<Institution> TakeOut(const SpooledValues& lost);

  bool Has(const MaskedElements& input) const;

 private:
  absl::Status CheckIsThere(const SpooledBytes& bytes) const;

  SpoolPack pack_;  // Small ones.
  AttemptSum sum_;
};

}  // namespace fedtune
