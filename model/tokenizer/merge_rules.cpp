// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/merge_rules.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <queue>

namespace fedtune {
namespace {

// Up to here, looking at all pairs for each merge beats keeping a queue.
constexpr size_t kMaxScannedTokens = 48;

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void MergeRules::Set(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  rules_.insert_or_assign(PairKey(left, right), Rule{rank, merged});
}

const MergeRules::Rule* MergeRules::Find(int32_t left, int32_t right) const {
  const auto found = rules_.find(PairKey(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

void MergeRules::Apply(std::vector<int32_t>& tokens, size_t first) const {
  if (tokens.size() - first <= kMaxScannedTokens) {
    ApplyByScanning(tokens, first);
  } else {
    ApplyByQueue(tokens, first);
  }
}

void MergeRules::ApplyByScanning(std::vector<int32_t>& tokens, size_t first) const {
  int32_t* const word = tokens.data() + first;
  size_t size = tokens.size() - first;
  std::array<Rule, kMaxScannedTokens> rules;  // rules[i] is for word[i] and word[i + 1].
  const auto look_up = [&](size_t i) {
    const Rule* rule = Find(word[i], word[i + 1]);
    rules[i] = rule == nullptr ? Rule{kNoRank, 0} : *rule;
  };
  for (size_t i = 0; i + 1 < size; ++i) look_up(i);
  while (size > 1) {
    const auto end = rules.begin() + static_cast<ptrdiff_t>(size) - 1;
    const auto best = std::min_element(
        rules.begin(), end, [](const Rule& a, const Rule& b) { return a.rank < b.rank; });
    if (best->rank == kNoRank) break;
    const auto at = static_cast<size_t>(best - rules.begin());
    word[at] = best->merged;
    std::copy(word + at + 2, word + size, word + at + 1);
    std::copy(best + 1, end, best);
    --size;
    if (at + 1 < size) look_up(at);
    if (at > 0) look_up(at - 1);
  }
  tokens.resize(first + size);
}

// A linked list of tokens, and its pairs with a rule in order of rank and
// place. Entries are not taken out when a token of theirs is merged away: they
// are found to be out of date when their turn comes.
class MergeQueue {
 public:
  MergeQueue(const MergeRules& rules, const int32_t* tokens, size_t size)
      : rules_(rules), tokens_(tokens, tokens + size), next_(size), previous_(size) {
    for (size_t i = 0; i < size; ++i) {
      next_[i] = static_cast<uint32_t>(i + 1);
      previous_[i] = static_cast<uint32_t>(i) - 1;  // Wraps around for the first.
    }
    for (uint32_t i = 0; i < size; ++i) Push(i);
  }

  void Run() {
    while (!queue_.empty()) {
      const Entry entry = queue_.top();
      queue_.pop();
      const auto at = static_cast<uint32_t>(entry);
      const MergeRules::Rule* rule = RuleAt(at);
      if (rule != nullptr && rule->rank == entry >> 32) Merge(at, rule->merged);
    }
  }

  void AppendTo(std::vector<int32_t>& tokens) const {
    for (uint32_t at = 0; at < tokens_.size(); at = next_[at]) tokens.push_back(tokens_[at]);
  }

 private:
  using Entry = uint64_t;  // Rank and place.
  static constexpr int32_t kMergedAway = -1;

  // The rule for the token at `at` and the one after it.
  const MergeRules::Rule* RuleAt(uint32_t at) const {
    const uint32_t right = next_[at];
    if (right >= tokens_.size() || tokens_[at] == kMergedAway) return nullptr;
    return rules_.Find(tokens_[at], tokens_[right]);
  }

  void Push(uint32_t at) {
    if (const MergeRules::Rule* rule = RuleAt(at)) {
      queue_.push(static_cast<Entry>(rule->rank) << 32 | at);
    }
  }

  void Merge(uint32_t at, int32_t merged) {
    const uint32_t right = next_[at];
    tokens_[at] = merged;
    tokens_[right] = kMergedAway;
    next_[at] = next_[right];
    if (next_[at] < tokens_.size()) previous_[next_[at]] = at;
    Push(at);
    if (at > 0) Push(previous_[at]);
  }

  const MergeRules& rules_;
  std::vector<int32_t> tokens_;
  std::vector<uint32_t> next_;
  std::vector<uint32_t> previous_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

void MergeRules::ApplyByQueue(std::vector<int32_t>& tokens, size_t first) const {
  MergeQueue queue(*this, tokens.data() + first, tokens.size() - first);
  queue.Run();
  tokens.resize(first);
  queue.AppendTo(tokens);
}

}  // namespace fedtune
