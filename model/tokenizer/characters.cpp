// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/characters.h"

#include <oniguruma.h>

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fedtune {
namespace {

constexpr size_t kCodePoints = 0x110000;

struct Range {
  OnigCodePoint first = 0;
  OnigCodePoint last = 0;

  friend auto operator<=>(const Range&, const Range&) = default;
};

struct YoungerRange {
  OnigCodePoint first;
  OnigCodePoint last;
  std::string_view category;
};

constexpr YoungerRange kYounger[] = {
#include "model/tokenizer/younger_characters.inc"
};

// The categories that have younger characters, and those they are parts of.
constexpr const char* kGrown[] = {"L",  "Lu", "Ll", "Lm", "Lo", "M", "Mn", "Mc", "N",
                                  "Nd", "No", "P",  "Po", "Pd", "S", "Sm", "So"};

// What Oniguruma itself has under this name.
std::vector<Range> OlderRanges(std::string_view property) {
  const OnigEncoding utf8 = ONIG_ENCODING_UTF8;
  std::string name(property);
  auto* const begin = reinterpret_cast<OnigUChar*>(name.data());
  const int type = utf8->property_name_to_ctype(utf8, begin, begin + name.size());
  Check(type >= 0, "Oniguruma does not know a general category");
  OnigCodePoint single_bytes_end = 0;
  const OnigCodePoint* ranges = nullptr;
  const int code =
      utf8->get_ctype_code_range(static_cast<OnigCtype>(type), &single_bytes_end, &ranges);
  Check(code == ONIG_NORMAL, "Oniguruma does not say what is in a general category");
  std::vector<Range> result(ranges[0]);
  for (size_t i = 0; i < result.size(); ++i) result[i] = {ranges[1 + 2 * i], ranges[2 + 2 * i]};
  return result;
}

std::vector<Range> AllRanges(std::string_view category) {
  std::vector<Range> ranges = OlderRanges(category);
  for (const YoungerRange& younger : kYounger) {
    if (younger.category.starts_with(category)) ranges.push_back({younger.first, younger.last});
  }
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

// Sorted ranges as Oniguruma takes them, without overlaps: their number, then
// the first and the last of each.
std::vector<OnigCodePoint> Flattened(const std::vector<Range>& ranges) {
  std::vector<OnigCodePoint> flat{0};
  for (const Range& range : ranges) {
    if (flat.size() > 1 && range.first <= flat.back() + 1) {
      flat.back() = std::max(flat.back(), range.last);
    } else {
      flat.insert(flat.end(), {range.first, range.last});
    }
  }
  flat[0] = static_cast<OnigCodePoint>(flat.size() / 2);
  return flat;
}

constexpr uint8_t kWordBit = 0x80;

// One byte for each code point: its kind, and whether it belongs to words.
class Table {
 public:
  Table() : entries_(kCodePoints) {
    constexpr std::pair<const char*, CharacterKind> kKinds[] = {
        {"L", CharacterKind::kLetter}, {"M", CharacterKind::kMark},
        {"N", CharacterKind::kNumber}, {"P", CharacterKind::kPunctuation},
        {"S", CharacterKind::kSymbol}, {"White_Space", CharacterKind::kSpace}};
    for (const auto& [category, kind] : kKinds)
      Mark(AllRanges(category), static_cast<uint8_t>(kind));
    for (const char* const category : {"L", "M", "Nd", "Pc"}) Mark(AllRanges(category), kWordBit);
    for (const char* const property : {"Alphabetic", "Join_Control"}) {
      Mark(OlderRanges(property), kWordBit);
    }
  }

  uint8_t At(uint32_t code_point) const { return entries_[code_point]; }

 private:
  void Mark(const std::vector<Range>& ranges, uint8_t bits) {
    for (const Range& range : ranges) {
      for (OnigCodePoint at = range.first; at <= range.last; ++at) entries_[at] |= bits;
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

void DefineYoungerProperties() {
  TheTable();  // Asks for what is about to be hidden.
  // Oniguruma keeps pointers to the ranges for as long as the process lives.
  static std::deque<std::vector<OnigCodePoint>> kept;
  std::vector<std::vector<OnigCodePoint>> grown;
  for (const char* const category : kGrown) grown.push_back(Flattened(AllRanges(category)));
  for (size_t i = 0; i < grown.size(); ++i) {
    kept.push_back(std::move(grown[i]));
    Check(onig_unicode_define_user_property(kGrown[i], kept.back().data()) == ONIG_NORMAL,
          "Oniguruma takes no general category");
  }
}

}  // namespace fedtune
