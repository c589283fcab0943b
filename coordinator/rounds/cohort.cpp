// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/cohort.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

std::vector<Institution> DrawCohort(std::vector<Institution> candidates, int64_t size, int64_t seed,
                                    int64_t round) {
  if (size == 0 || size >= std::ssize(candidates)) {
    std::sort(candidates.begin(), candidates.end());
    return candidates;
  }
  std::vector<std::pair<Digest, Institution>> lots;
  lots.reserve(candidates.size());
  for (Institution& candidate : candidates) {
    const Digest lot = Sha256Of(fmt::format("{} {} {}", seed, round, candidate.value));
    lots.emplace_back(lot, std::move(candidate));
  }
  std::nth_element(lots.begin(), lots.begin() + size, lots.end());
  std::vector<Institution> drawn;
  for (int64_t i = 0; i < size; ++i) {
    drawn.push_back(std::move(lots[static_cast<size_t>(i)].second));
  }
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

}  // namespace fedtune
