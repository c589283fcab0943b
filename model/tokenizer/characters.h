// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// What Unicode says about a character, as far as tokenizers ask.
enum class CharacterKind : uint8_t {
  kOther,        // Control, format, private use, unassigned.
  kLetter,       // General category L.
  kMark,         // M
  kNumber,       // N
  kPunctuation,  // P
  kSymbol,       // S
  kSpace,        // White space, line ends included: \s.
};

// Of a code point up to U+10FFFF, in Unicode 16: what the system's Oniguruma
// says, and the characters that it is too old to know. Thread-safe.
CharacterKind KindOf(uint32_t code_point);

// Whether it is a letter, a mark, a digit or a connector, as UTS 18 has \w.
// Thread-safe.
bool IsWordCharacter(uint32_t code_point);

}  // namespace fedtune
