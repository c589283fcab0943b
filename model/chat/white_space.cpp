// SPDX-License-Identifier: Apache-2.0

#include "model/chat/white_space.h"

#include <cstdint>

#include "model/tokenizer/characters.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

bool IsSpace(uint32_t code_point) {
  return KindOf(code_point) == CharacterKind::kSpace || (code_point >= 0x1C && code_point <= 0x1F);
}

}  // namespace

std::string_view WithoutSpaceBefore(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = FirstCodePoint(text);
    if (!IsSpace(first.value)) break;
    text.remove_prefix(first.length);
  }
  return text;
}

std::string_view WithoutSpaceBehind(std::string_view text) {
  while (!text.empty()) {
    const CodePoint last = LastCodePoint(text);
    if (!IsSpace(last.value)) break;
    text.remove_suffix(last.length);
  }
  return text;
}

}  // namespace fedtune
