// SPDX-License-Identifier: Apache-2.0

#include "client/round/answer_choices.h"

#include <algorithm>
#include <set>

namespace fedtune {
namespace {

// The tokens of a record's one answer; empty if its targets are not all at its
// end.
std::vector<int32_t> AnswerOf(const TokenizedRecord& record) {
  const auto& target = record.is_target;
  const auto begin = std::find(target.begin(), target.end(), 1);
  if (std::find(begin, target.end(), 0) != target.end()) return {};
  return {record.tokens.begin() + (begin - target.begin()), record.tokens.end()};
}

}  // namespace

std::vector<std::vector<int32_t>> AnswerChoices(
    std::initializer_list<std::span<const TokenizedRecord>> records) {
  std::set<std::vector<int32_t>> answers;
  size_t tokens = 0;
  for (const std::span<const TokenizedRecord> split : records) {
    for (const TokenizedRecord& record : split) {
      std::vector<int32_t> answer = AnswerOf(record);
      if (answer.empty()) return {};
      const size_t size = answer.size();
      if (answers.insert(std::move(answer)).second) tokens += size;
      if (answers.size() > kMaxChoices || tokens > kMaxChoiceTokens) return {};
    }
  }
  if (answers.size() < 2) return {};
  return {answers.begin(), answers.end()};
}

}  // namespace fedtune
