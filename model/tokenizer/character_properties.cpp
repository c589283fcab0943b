// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/character_properties.h"

#include <oniguruma.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"

namespace fedtune {
namespace {

using Ranges = std::vector<CodePointRange>;

struct YoungerCharacters {
  std::string_view properties;  // All that they have, of those that differ.
  std::initializer_list<CodePointRange> characters;
};

constexpr YoungerCharacters kYounger[] = {
#include "model/tokenizer/younger_characters.inc"
};

// What was said of younger characters, and is no longer said of any.
constexpr std::string_view kLost[] = {"Cn", "Unknown"};

constexpr OnigCodePoint kAsciiEnd = 0x80;

// Up to here Oniguruma has a table of the classes that have letters (\w, \d).
constexpr OnigCodePoint kLatin1End = 0x100;

// Where the types of properties begin of which Oniguruma has not even the name.
constexpr OnigCtype kFirstNewType = 1 << 20;

OnigEncoding Older() { return ONIG_ENCODING_UTF8; }

// Negative if Oniguruma has no property of this name.
int OlderType(std::string_view property) {
  std::string name(property);
  auto* const begin = reinterpret_cast<OnigUChar*>(name.data());
  return Older()->property_name_to_ctype(Older(), begin, begin + name.size());
}

Ranges OlderCharacters(OnigCtype type) {
  OnigCodePoint single_bytes_end = 0;
  const OnigCodePoint* flat = nullptr;
  const int code = Older()->get_ctype_code_range(type, &single_bytes_end, &flat);
  Check(code == ONIG_NORMAL, "Oniguruma does not say which characters have a property");
  Ranges ranges(flat[0]);
  for (size_t i = 0; i < ranges.size(); ++i) ranges[i] = {flat[1 + 2 * i], flat[2 + 2 * i]};
  return ranges;
}

// Those of `ranges` that are not in `taken`, both sorted and without overlaps.
Ranges Without(const Ranges& ranges, const Ranges& taken) {
  Ranges left;
  auto gap = taken.begin();
  for (CodePointRange range : ranges) {
    while (gap != taken.end() && gap->last < range.first) ++gap;
    for (auto at = gap; at != taken.end() && at->first <= range.last; ++at) {
      if (range.first < at->first) left.push_back({range.first, at->first - 1});
      range.first = at->last + 1;
    }
    if (range.first <= range.last) left.push_back(range);
  }
  return left;
}

Ranges SortedAndJoined(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges joined;
  for (const CodePointRange& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

// As Oniguruma takes them: their number, then the first and the last of each.
std::vector<OnigCodePoint> Flattened(const Ranges& ranges) {
  std::vector<OnigCodePoint> flat{static_cast<OnigCodePoint>(ranges.size())};
  for (const CodePointRange& range : ranges) flat.insert(flat.end(), {range.first, range.last});
  return flat;
}

// Who has a property.
struct Members {
  Ranges ranges;
  std::vector<OnigCodePoint> flat;

  bool Has(uint32_t code_point) const {
    const auto behind =
        std::upper_bound(ranges.begin(), ranges.end(), code_point,
                         [](uint32_t at, const CodePointRange& range) { return at < range.first; });
    return behind != ranges.begin() && code_point <= std::prev(behind)->last;
  }
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// Names of properties are the same without what Unicode lets one leave out.
std::string Normalized(std::string_view name) {
  std::string normalized;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    normalized += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return normalized;
}

// What younger characters change, by the types that Oniguruma knows properties by.
class Properties {
 public:
  Properties() {
    absl::flat_hash_map<std::string_view, Ranges> gained;
    for (const std::string_view property : kLost) gained[property];
    Ranges younger;
    for (const auto& [properties, characters] : kYounger) {
      younger.insert(younger.end(), characters.begin(), characters.end());
      for (const std::string_view property : Words(properties)) {
        Ranges& ranges = gained[property];
        ranges.insert(ranges.end(), characters.begin(), characters.end());
      }
    }
    std::sort(younger.begin(), younger.end());
    for (auto& [property, ranges] : gained) Add(property, younger, std::move(ranges));
    AddSymbolsToPunctuation();
  }

  // Negative if there is none of this name.
  int Type(std::string_view property) const {
    const auto added = new_types_.find(Normalized(property));
    return added != new_types_.end() ? static_cast<int>(added->second) : OlderType(property);
  }

  // Null if they are those that Oniguruma says.
  const Members* Find(OnigCtype type) const {
    const auto found = members_.find(type);
    return found == members_.end() ? nullptr : &found->second;
  }

 private:
  void Add(std::string_view property, const Ranges& younger, Ranges gained) {
    const int older_type = OlderType(property);
    OnigCtype type = kFirstNewType + static_cast<OnigCtype>(new_types_.size());
    if (older_type < 0) {
      new_types_.emplace(Normalized(property), type);
    } else {
      type = static_cast<OnigCtype>(older_type);
      const Ranges kept = Without(OlderCharacters(type), younger);
      gained.insert(gained.end(), kept.begin(), kept.end());
    }
    Set(type, std::move(gained));
  }

  void Set(OnigCtype type, Ranges unsorted) {
    Ranges ranges = SortedAndJoined(std::move(unsorted));
    std::vector<OnigCodePoint> flat = Flattened(ranges);
    members_[type] = {std::move(ranges), std::move(flat)};
  }

  // Since Oniguruma 6.9.9 [[:punct:]] has symbols, too, and \p{Punct} has none.
  void AddSymbolsToPunctuation() {
    const int punctuation = OlderType("P");
    Ranges ranges = members_.at(static_cast<OnigCtype>(punctuation)).ranges;
    const Ranges& symbols = members_.at(static_cast<OnigCtype>(OlderType("S"))).ranges;
    ranges.insert(ranges.end(), symbols.begin(), symbols.end());
    Set(ONIGENC_CTYPE_PUNCT, std::move(ranges));
    new_types_.emplace("punct", static_cast<OnigCtype>(punctuation));
  }

  absl::flat_hash_map<std::string, OnigCtype> new_types_;
  absl::flat_hash_map<OnigCtype, Members> members_;
};

const Properties& TheProperties() {
  static const Properties properties;
  return properties;
}

// The three things that Oniguruma asks an encoding of properties.

int TypeOfName(OnigEncodingTypeST*, OnigUChar* begin, OnigUChar* end) {
  return TheProperties().Type({reinterpret_cast<char*>(begin), static_cast<size_t>(end - begin)});
}

int RangesOfType(OnigCtype type, OnigCodePoint* single_bytes_end, const OnigCodePoint** ranges) {
  const Members* const members = TheProperties().Find(type);
  if (members == nullptr) return Older()->get_ctype_code_range(type, single_bytes_end, ranges);
  *single_bytes_end = kAsciiEnd;
  *ranges = members->flat.data();
  return ONIG_NORMAL;
}

int HasType(OnigCodePoint code_point, OnigCtype type) {
  const bool is_quick = code_point < kLatin1End && type <= ONIGENC_MAX_STD_CTYPE;
  const Members* const members = is_quick ? nullptr : TheProperties().Find(type);
  if (members == nullptr) return Older()->is_code_ctype(code_point, type);
  return members->Has(code_point) ? 1 : 0;
}

}  // namespace

std::vector<CodePointRange> CharactersWith(std::string_view property) {
  const int type = TheProperties().Type(property);
  Check(type >= 0, "there is no such property of characters");
  const Members* const members = TheProperties().Find(static_cast<OnigCtype>(type));
  return members != nullptr ? members->ranges : OlderCharacters(static_cast<OnigCtype>(type));
}

OnigEncodingTypeST* Utf8OfUnicode16() {
  static OnigEncodingType encoding = [] {
    OnigEncodingType utf8 = *Older();
    utf8.property_name_to_ctype = TypeOfName;
    utf8.is_code_ctype = HasType;
    utf8.get_ctype_code_range = RangesOfType;
    return utf8;
  }();
  return &encoding;
}

}  // namespace fedtune
