// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "client/data/tokenized_record.h"

namespace fedtune {

// More distinct answers than this are free text, and so are longer ones: each record is
// evaluated with all of them, in memory that grows with the square of their tokens.
inline constexpr size_t kMaxChoices = 100;
inline constexpr size_t kMaxChoiceTokens = 2048;  // Of all together.

// The distinct answers of all `records`, in order of their tokens, if they can
// be chosen among: each record has one answer, at its end, and there are from 2
// to kMaxChoices of them, with at most kMaxChoiceTokens. Otherwise none.
std::vector<std::vector<int32_t>> AnswerChoices(
    std::initializer_list<std::span<const TokenizedRecord>> records);

}  // namespace fedtune
