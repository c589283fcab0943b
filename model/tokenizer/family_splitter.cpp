// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/family_splitter.h"

#include <cstddef>
#include <cstdint>

#include "model/tokenizer/characters.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

// A character of the text: what it is and where the next one begins.
struct Character {
  CharacterKind kind = CharacterKind::kOther;
  uint32_t code_point = 0;
  size_t end = 0;
};

constexpr int kMaxDigits = 3;

constexpr bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool IsLineEnd(char c) { return c == '\r' || c == '\n'; }

bool IsWordPart(const Character& c) {
  return c.kind == CharacterKind::kLetter || c.kind == CharacterKind::kMark;
}
bool IsSign(const Character& c) {
  return c.kind == CharacterKind::kPunctuation || c.kind == CharacterKind::kSymbol;
}
bool IsSpace(const Character& c) { return c.kind == CharacterKind::kSpace; }
bool IsNumber(const Character& c) { return c.kind == CharacterKind::kNumber; }

// 一-龥, ぀-ゟ and ゠-ヿ.
bool IsEastAsian(const Character& c) {
  return (c.code_point >= 0x4E00 && c.code_point <= 0x9FA5) ||
         (c.code_point >= 0x3040 && c.code_point <= 0x30FF);
}

Character CharacterAt(std::string_view text, size_t at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return {KindOf(byte), byte, at + 1};
  const CodePoint next = FirstCodePoint(text.substr(at));
  return {KindOf(next.value), next.value, at + next.length};
}

// Where the first two expressions end a piece without numbers that goes on at
// `at`, of East Asian characters or without any.
size_t EndOfPiece(std::string_view text, size_t at, bool is_east_asian) {
  while (at < text.size()) {
    const Character next = CharacterAt(text, at);
    if (IsNumber(next) || IsEastAsian(next) != is_east_asian) break;
    at = next.end;
  }
  return at;
}

// One piece that the first two expressions have left or found, and its words by
// the third. Each method is one way to match at `at`, in the order in which the
// expression tries them: where the match ends, or `at` if there is none.
class Piece {
 public:
  explicit Piece(std::string_view text) : text_(text) {}

  void AppendWords(std::vector<std::string_view>& words) const {
    size_t unmatched = 0;  // Where what no way has matched begins.
    for (size_t at = 0; at < text_.size();) {
      const Character first = At(at);
      const size_t end = Match(at, first);
      if (end == at) {
        at = first.end;
        continue;
      }
      if (unmatched < at) words.push_back(text_.substr(unmatched, at - unmatched));
      words.push_back(text_.substr(at, end - at));
      at = end;
      unmatched = end;
    }
    if (unmatched < text_.size()) words.push_back(text_.substr(unmatched));
  }

 private:
  Character At(size_t at) const { return CharacterAt(text_, at); }

  template <typename Condition>
  size_t Skip(size_t at, Condition condition) const {
    while (at < text_.size()) {
      const Character next = At(at);
      if (!condition(next)) break;
      at = next.end;
    }
    return at;
  }

  size_t Match(size_t at, const Character& first) const {
    switch (first.kind) {
      case CharacterKind::kLetter:
      case CharacterKind::kMark:
        return Skip(first.end, IsWordPart);
      case CharacterKind::kPunctuation:
      case CharacterKind::kSymbol:
        return MatchSign(at, first);
      case CharacterKind::kSpace:
        return MatchSpace(at, first);
      case CharacterKind::kNumber:
      case CharacterKind::kOther:
        return MatchWordBehind(at, first);
    }
    return at;
  }

  // [!-~][A-Za-z]+, or else signs with the line ends behind them. All signs of
  // ASCII are in the expression's list.
  size_t MatchSign(size_t at, const Character& first) const {
    const bool ascii = first.code_point < 0x80;
    if (ascii && first.end < text_.size() && IsAsciiLetter(text_[first.end])) {
      size_t end = at + 2;
      while (end < text_.size() && IsAsciiLetter(text_[end])) ++end;
      return end;
    }
    return SkipLineEnds(Skip(first.end, IsSign));
  }

  // Letters and marks behind one character of another kind.
  size_t MatchWordBehind(size_t at, const Character& first) const {
    const size_t end = Skip(first.end, IsWordPart);
    return end == first.end ? at : end;
  }

  size_t MatchSpace(size_t at, const Character& first) const {
    if (!IsLineEnd(text_[at])) {
      if (const size_t end = MatchWordBehind(at, first); end != at) return end;
    }
    if (text_[at] == ' ') {
      const size_t end = Skip(first.end, IsSign);
      if (end != first.end) return SkipLineEnds(end);
    }
    return MatchSpaces(at, first);
  }

  size_t MatchSpaces(size_t at, const Character& first) const {
    size_t line_end = at;  // Behind the last line end of the white space.
    size_t last = at;      // Where its last character begins.
    size_t end = at;
    while (end < text_.size()) {
      const Character next = At(end);
      if (!IsSpace(next)) break;
      last = end;
      if (IsLineEnd(text_[end])) line_end = next.end;
      end = next.end;
    }
    if (line_end != at) return line_end;
    if (end == text_.size() || end == first.end) return end;
    return last;
  }

  size_t SkipLineEnds(size_t at) const {
    while (at < text_.size() && IsLineEnd(text_[at])) ++at;
    return at;
  }

  std::string_view text_;
};

// Of a number whose first digit ends at `end`.
size_t EndOfNumber(std::string_view text, size_t end) {
  for (int digits = 1; digits < kMaxDigits && end < text.size(); ++digits) {
    const Character next = CharacterAt(text, end);
    if (!IsNumber(next)) break;
    end = next.end;
  }
  return end;
}

}  // namespace

void SplitAsFamily(std::string_view text, std::vector<std::string_view>& words) {
  for (size_t begin = 0; begin < text.size();) {
    const Character first = CharacterAt(text, begin);
    size_t end = first.end;
    if (IsNumber(first)) {
      end = EndOfNumber(text, end);
      words.push_back(text.substr(begin, end - begin));
    } else {
      end = EndOfPiece(text, end, IsEastAsian(first));
      Piece(text.substr(begin, end - begin)).AppendWords(words);
    }
    begin = end;
  }
}

}  // namespace fedtune
