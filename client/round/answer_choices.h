// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "client/data/tokenized_record.h"

namespace fedtune {

// More distinct answers than this are free text, and so are those with more tokens
// together, all of which are computed for every record: a few letters are no choices.
inline constexpr size_t kMaxChoices = 100;
inline constexpr size_t kMaxChoiceTokens = 4096;

// The distinct answers of all `records`, in order of their tokens, if they can
// be chosen among: each record has one answer, at its end, and there are from 2
// to kMaxChoices of them, of at most kMaxChoiceTokens together. Otherwise none.
std::vector<std::vector<int32_t>> AnswerChoices(
    std::initializer_list<std::span<const TokenizedRecord>> records);

}  // namespace fedtune
