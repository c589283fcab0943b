// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/secret_rebuilder.h"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// How many choices of `threshold` out of `count` there are, as far as it matters.
bool FewChoices(size_t count, size_t threshold) {
  double choices = 1;
  for (size_t i = 0; i < threshold && choices <= SecretRebuilder::kMostTries; ++i) {
    choices *= static_cast<double>(count - i) / static_cast<double>(i + 1);
  }
  return choices <= SecretRebuilder::kMostTries;
}

// Goes through choices of shares: all of them in order, or random ones.
class Choices {
 public:
  Choices(const std::vector<GivenShare>& shares, size_t threshold)
      : shares_(shares), every_(FewChoices(shares.size(), threshold)), taken_(shares.size()) {
    std::fill_n(taken_.begin(), threshold, true);
  }

  std::vector<GivenShare> Current() const {
    std::vector<GivenShare> chosen;
    for (size_t i = 0; i < shares_.size(); ++i) {
      if (taken_[i]) chosen.push_back(shares_[i]);
    }
    return chosen;
  }

  // Whether it goes through all of them.
  bool every() const { return every_; }

  bool Next() {
    if (++tries_ >= SecretRebuilder::kMostTries) return false;
    if (every_) return std::prev_permutation(taken_.begin(), taken_.end());
    std::shuffle(taken_.begin(), taken_.end(), random_);
    return true;
  }

 private:
  const std::vector<GivenShare>& shares_;
  bool every_;
  std::vector<bool> taken_;
  int tries_ = 0;
  std::mt19937_64 random_{1};  // Nothing secret depends on the order of the tries.
};

}  // namespace

absl::StatusOr<SecretBytes> SecretRebuilder::Combine(const std::vector<GivenShare>& chosen) {
  std::vector<uint32_t> points;
  std::vector<const SecretBytes*> shares;
  for (const GivenShare& given : chosen) {
    points.push_back(given.point);
    shares.push_back(given.share);
  }
  auto found = combiners_.find(points);
  if (found == combiners_.end()) {
    if (combiners_.size() > 64) combiners_.clear();
    ASSIGN_OR_RETURN(SecretCombiner combiner, SecretCombiner::Create(points));
    found = combiners_.emplace(std::move(points), std::move(combiner)).first;
  }
  return found->second.Combine(shares);
}

absl::StatusOr<SecretBytes> SecretRebuilder::Rebuild(
    std::vector<GivenShare> shares, const std::function<bool(const SecretBytes&)>& is_right) {
  const auto threshold = static_cast<size_t>(threshold_);
  if (shares.size() < threshold) {
    return absl::FailedPreconditionError(
        fmt::format("{} shares came, {} are needed", shares.size(), threshold));
  }
  std::stable_partition(shares.begin(), shares.end(), [this](const GivenShare& given) {
    return !known_liars_.contains(given.giver);
  });
  Choices choices(shares, threshold);
  std::optional<SecretBytes> found;
  do {
    const std::vector<GivenShare> chosen = choices.Current();
    absl::StatusOr<SecretBytes> secret = Combine(chosen);
    if (!secret.ok() || !(found.has_value() ? *secret == *found : is_right(*secret))) continue;
    std::set<uint32_t> differing = Differing(shares, chosen, *secret);
    if (!found.has_value() || differing.size() < liars_.size()) liars_ = differing;
    found = *std::move(secret);
    const bool is_only_one = 2 * liars_.size() < shares.size() - threshold + 2;
    if (is_only_one || !choices.every()) break;
  } while (choices.Next());
  if (!found.has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("no {} of {} shares give the secret: too many of them are wrong", threshold,
                    shares.size()));
  }
  known_liars_.insert(liars_.begin(), liars_.end());
  return *std::move(found);
}

// Who gave a share that cannot stand in for one of the right ones. Liars may have
// chosen theirs so that together they give the secret all the same.
std::set<uint32_t> SecretRebuilder::Differing(const std::vector<GivenShare>& shares,
                                              std::vector<GivenShare> right,
                                              const SecretBytes& secret) {
  std::set<uint32_t> trusted;
  for (const GivenShare& given : right) trusted.insert(given.giver);
  std::set<uint32_t> differing;
  for (const GivenShare& given : shares) {
    if (trusted.contains(given.giver)) continue;
    right.front() = given;
    const absl::StatusOr<SecretBytes> other = Combine(right);
    if (!other.ok() || !(*other == secret)) differing.insert(given.giver);
  }
  return differing;
}

}  // namespace fedtune
