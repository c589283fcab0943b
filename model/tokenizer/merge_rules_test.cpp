// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/merge_rules.h"

#include <array>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

std::vector<int32_t> Apply(const MergeRules& rules, std::vector<int32_t> tokens) {
  rules.Apply(tokens, 0);
  return tokens;
}

// 1 and 2 become 10 first, then 2 and 3 become 11, then 10 and 3 become 12.
MergeRules SomeRules() {
  MergeRules rules;
  rules.Set(1, 2, 0, 10);
  rules.Set(2, 3, 1, 11);
  rules.Set(10, 3, 2, 12);
  return rules;
}

TEST(MergeRulesTest, AppliesTheRuleWithTheLowestRankFirst) {
  EXPECT_THAT(Apply(SomeRules(), {1, 2, 3}), ElementsAre(12));
  EXPECT_THAT(Apply(SomeRules(), {2, 3, 1, 2}), ElementsAre(11, 10));
}

TEST(MergeRulesTest, AppliesARuleFromLeftToRight) {
  MergeRules rules;
  rules.Set(1, 1, 0, 2);
  EXPECT_THAT(Apply(rules, {1, 1, 1}), ElementsAre(2, 1));
}

TEST(MergeRulesTest, LeavesTokensBeforeTheFirstAlone) {
  std::vector<int32_t> tokens{1, 2, 3};
  SomeRules().Apply(tokens, 1);
  EXPECT_THAT(tokens, ElementsAre(1, 11));
}

TEST(MergeRulesTest, LeavesTokensWithoutARuleAlone) {
  EXPECT_THAT(Apply(SomeRules(), {3, 2, 1}), ElementsAre(3, 2, 1));
  EXPECT_THAT(Apply(SomeRules(), {}), ElementsAre());
}

TEST(MergeRulesTest, TakesTheLaterOfTwoRulesForOnePair) {
  MergeRules rules = SomeRules();
  rules.Set(1, 2, 5, 13);
  EXPECT_THAT(Apply(rules, {1, 2, 3}), ElementsAre(1, 11));
}

using RuleList = std::vector<std::array<int32_t, 3>>;

// A definition of the result: search the word from its beginning, for the first
// rule first, before each merge.
std::vector<int32_t> ApplySlowly(const RuleList& rules, std::vector<int32_t> tokens) {
  for (size_t rank = 0; rank < rules.size(); ++rank) {
    const auto& [left, right, merged] = rules[rank];
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      if (tokens[i] != left || tokens[i + 1] != right) continue;
      tokens[i] = merged;
      tokens.erase(tokens.begin() + static_cast<ptrdiff_t>(i) + 1);
      rank = static_cast<size_t>(-1);  // Begin again with the first rule.
      break;
    }
  }
  return tokens;
}

// Rules over the tokens 0 to 3 and those that the rules before them make. No
// pair comes twice.
RuleList RandomRules(std::mt19937& random) {
  RuleList rules;
  std::set<std::pair<int32_t, int32_t>> pairs;
  for (int32_t next = 4; next < 16; ++next) {
    const auto left = static_cast<int32_t>(random() % static_cast<uint32_t>(next));
    const auto right = static_cast<int32_t>(random() % static_cast<uint32_t>(next));
    if (pairs.emplace(left, right).second) rules.push_back({left, right, next});
  }
  return rules;
}

TEST(MergeRulesTest, GivesWhatTheDefinitionGivesForWordsOfAllLengths) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const RuleList list = RandomRules(random);
    MergeRules rules;
    for (uint32_t rank = 0; rank < list.size(); ++rank) {
      rules.Set(list[rank][0], list[rank][1], rank, list[rank][2]);
    }
    std::vector<int32_t> word(random() % 150);
    for (int32_t& token : word) token = static_cast<int32_t>(random() % 4);
    ASSERT_EQ(Apply(rules, word), ApplySlowly(list, word)) << "trial " << trial;
  }
}

}  // namespace
}  // namespace fedtune
