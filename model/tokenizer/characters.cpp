// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/characters.h"

#include <string_view>
#include <utility>
#include <vector>

#include "model/tokenizer/character_properties.h"

namespace fedtune {
namespace {

constexpr size_t kCodePoints = 0x110000;

constexpr uint8_t kWordBit = 0x80;

// One byte for each code point: its kind, and whether it belongs to words.
class Table {
 public:
  Table() : entries_(kCodePoints) {
    constexpr std::pair<const char*, CharacterKind> kKinds[] = {
        {"L", CharacterKind::kLetter}, {"M", CharacterKind::kMark},
        {"N", CharacterKind::kNumber}, {"P", CharacterKind::kPunctuation},
        {"S", CharacterKind::kSymbol}, {"White_Space", CharacterKind::kSpace}};
    for (const auto& [property, kind] : kKinds) Mark(property, static_cast<uint8_t>(kind));
    for (const char* const property : {"Alphabetic", "M", "Nd", "Pc", "Join_Control"}) {
      Mark(property, kWordBit);
    }
  }

  uint8_t At(uint32_t code_point) const { return entries_[code_point]; }

 private:
  void Mark(std::string_view property, uint8_t bits) {
    for (const CodePointRange& range : CharactersWith(property)) {
      for (uint32_t at = range.first; at <= range.last; ++at) entries_[at] |= bits;
    }
  }

  std::vector<uint8_t> entries_;
};

const Table& TheTable() {
  static const Table table;
  return table;
}

}  // namespace

CharacterKind KindOf(uint32_t code_point) {
  return static_cast<CharacterKind>(TheTable().At(code_point) & ~kWordBit);
}

bool IsWordCharacter(uint32_t code_point) { return (TheTable().At(code_point) & kWordBit) != 0; }

}  // namespace fedtune
