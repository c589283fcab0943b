// SPDX-License-Identifier: Apache-2.0

#include "tests/interop/hostile_corpus.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

constexpr uint64_t kSeed = 20;
constexpr uint32_t kBlock = 0x1000;
constexpr std::pair<uint32_t, uint32_t> kPlanes[] = {
    {0, 0x40000}, {0xE0000, 0xE1000}, {0xF0000, 0xF0100}, {0x10FF00, 0x110000}};

constexpr std::string_view kJoiner = "\u200D";
constexpr std::string_view kWhiteSpace[] = {" ",      "\t",     "\n",     "\r",
                                            "\u0085", "\u00A0", "\u2028", "\u3000"};
constexpr std::string_view kPeople[] = {"\U0001F468", "\U0001F469", "\U0001F467", "\U0001F9D1",
                                        "\U0001F44D"};
constexpr std::string_view kTones[] = {"", "\U0001F3FB", "\U0001F3FD", "\U0001F3FF"};
constexpr std::string_view kBehind[] = {"\u2764", "\U0001F466", "\U0001F4BB", "\u2640",
                                        "\U0001F692"};
constexpr uint32_t kZeroes[] = {'0', 0x660, 0x966, 0xFF10, 0x1D7D8};
constexpr uint32_t kTelling[] = {' ',    '\n',   '\r',   '\t',   'a',     'Z',    '7',
                                 '.',    '$',    '_',    0,      0x7F,    0xA0,   0xBD,
                                 0xE9,   0x301,  0x661,  0x200B, 0x200D,  0x3042, 0x309B,
                                 0x30FB, 0x30FC, 0x4E00, 0xFF0C, 0x1F600, 0x2028};

// Knuth's MMIX generator, its upper half.
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed) {}

  size_t Below(size_t end) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % end;
  }

 private:
  uint64_t state_;
};

std::string Repeated(std::string_view part, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes / part.size(); ++i) text += part;
  return text;
}

std::string Replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const bool here = text.substr(at).starts_with(what);
    result += here ? by : text.substr(at, 1);
    at += here ? what.size() : 1;
  }
  return result;
}

// The bytes of the first `count` code points.
size_t Prefix(std::string_view text, size_t count) {
  size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += FirstCodePoint(text.substr(at)).length;
  return at;
}

std::string AsciiCase(std::string text, char first, char last, int shift) {
  for (char& c : text) {
    if (c >= first && c <= last) c = static_cast<char>(c + shift);
  }
  return text;
}

void AddCodePoints(std::vector<TextGroup>& groups) {
  for (const auto& [begin, end] : kPlanes) {
    for (uint32_t block = begin; block < end; block += kBlock) {
      TextGroup group{fmt::format("U+{:05X}", block), {}};
      for (uint32_t code = block; code < std::min(block + kBlock, end); ++code) {
        if (code >= 0xD800 && code < 0xE000) continue;
        group.texts.push_back(fmt::format("{0}a{0}b {0}{0}\n{0}1{0}2.{0}", EncodeUtf8(code)));
      }
      if (!group.texts.empty()) groups.push_back(std::move(group));
    }
  }
}

TextGroup JoinedEmoji() {
  TextGroup group{"joined emoji", {}};
  for (const std::string_view one : kPeople) {
    for (const std::string_view tone : kTones) {
      for (const std::string_view other : kBehind) {
        const std::string joined = fmt::format("{}{}{}{}", one, tone, kJoiner, other);
        group.texts.push_back(joined);
        group.texts.push_back(
            fmt::format("x {}\uFE0F{}{}{}!{}", joined, kJoiner, one, other, kJoiner));
      }
    }
  }
  std::string regions;
  for (uint32_t at = 0; at < 26; ++at) {
    regions += EncodeUtf8(0x1F1E6 + at);
    group.texts.push_back(regions);
  }
  for (const char key : std::string_view("0123456789#*")) {
    group.texts.push_back(fmt::format("{}\uFE0F\u20E3", key));
  }
  return group;
}

TextGroup DigitRuns() {
  TextGroup group{"digit runs", {}};
  std::vector<uint32_t> lengths;
  for (uint32_t length = 1; length <= 32; ++length) lengths.push_back(length);
  lengths.insert(lengths.end(), {100, 1000, 10000});
  for (const uint32_t zero : kZeroes) {
    for (const uint32_t length : lengths) {
      std::string run;
      for (uint32_t at = 0; at < length; ++at) run += EncodeUtf8(zero + at * 7 % 10);
      group.texts.push_back(run);
      group.texts.push_back(fmt::format("a{} {}.{}b", run, run, EncodeUtf8(zero)));
    }
  }
  return group;
}

TextGroup WhiteSpace() {
  TextGroup group{"white space", {}};
  std::vector<std::string> runs{""};
  size_t shorter = 0;  // Where the runs begin that are one character shorter.
  for (int length = 1; length <= 4; ++length) {
    const size_t end = runs.size();
    for (; shorter < end; ++shorter) {
      for (const std::string_view one : kWhiteSpace)
        runs.push_back(fmt::format("{}{}", runs[shorter], one));
    }
  }
  for (const std::string& run : runs) {
    if (!run.empty()) group.texts.push_back(fmt::format("{0}x{0}y{0}\n{0}", run));
  }
  return group;
}

TextGroup LookAlikes(const std::vector<std::string>& added) {
  TextGroup group{"look-alikes", {}};
  for (const std::string& text : added) {
    const std::string_view token = text;
    const std::string_view first = token.substr(0, Prefix(token, 1));
    const std::string_view last = token.substr(token.size() - LastCodePoint(token).length);
    const std::string_view all_but_last = token.substr(0, token.size() - last.size());
    const size_t two = Prefix(token, 2);
    const std::string narrow = Replaced(token, "\uFF5C", "|");
    for (std::string& one : std::vector<std::string>{
             text, text + text, fmt::format(" {} x{}y", token, token),
             std::string(token.substr(first.size())), std::string(all_but_last),
             fmt::format("{}{}", first, token), narrow, Replaced(token, "\u2581", "_"),
             Replaced(token, "\u2581", " "),
             fmt::format("{} {}", token.substr(0, two), token.substr(two)),
             AsciiCase(text, 'a', 'z', 'A' - 'a'),
             fmt::format("{}{}{}", all_but_last, kJoiner, last),
             AsciiCase(narrow, 'A', 'Z', 'a' - 'A')}) {
      group.texts.push_back(std::move(one));
    }
  }
  return group;
}

TextGroup LongRuns() {
  TextGroup group{"long runs", {std::string(size_t{1} << 20, 'a')}};
  for (const std::string_view part : {"ab", " ", "\n", " \n", ".", "7", "\u4E2D", "<"}) {
    group.texts.push_back(Repeated(part, size_t{1} << 16));
  }
  return group;
}

TextGroup Mixtures() {
  TextGroup group{"mixtures", {}};
  Draw draw(kSeed);
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (size_t length = 1 + draw.Below(40); length > 0; --length) {
      text += EncodeUtf8(kTelling[draw.Below(std::size(kTelling))]);
    }
    group.texts.push_back(std::move(text));
  }
  return group;
}

}  // namespace

std::vector<TextGroup> HostileTexts(const std::vector<std::string>& added) {
  std::vector<TextGroup> groups;
  AddCodePoints(groups);
  groups.push_back(JoinedEmoji());
  groups.push_back(DigitRuns());
  groups.push_back(WhiteSpace());
  groups.push_back(LookAlikes(added));
  groups.push_back(LongRuns());
  groups.push_back(Mixtures());
  return groups;
}

std::vector<std::string> BrokenBytes() {
  constexpr std::string_view kParts[] = {
      "a",    "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "\x80",     "\xBF",
      "\xC0", "\xC1",     "\xE0\x9F",     "\xED\xA0\x80",     "\xF0\x8F", "\xF4\x90",
      "\xF5", "\xFF",     "\xE4\xB8",     "\xF0\x9F\x98",     "\xC3"};
  constexpr size_t kSound = 4;
  Draw draw(kSeed + 1);
  std::vector<std::string> texts(5000);
  for (std::string& text : texts) {
    for (size_t i = draw.Below(20); i > 0; --i) text += kParts[draw.Below(kSound)];
    for (size_t i = draw.Below(4); i > 0; --i) text += kParts[draw.Below(std::size(kParts))];
  }
  return texts;
}

}  // namespace fedtune
