// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/utf8.h"

#include <cstring>

namespace fedtune {
namespace {

// What stands at the beginning of some bytes: a character, or the longest
// beginning of one (at least one byte).
struct Sequence {
  size_t length = 1;
  bool valid = false;
};

// What may follow a lead byte (Unicode standard, table 3-7).
struct Continuation {
  size_t count = 0;
  uint8_t first_low = 0x80;
  uint8_t first_high = 0xBF;
};

Continuation ContinuationOf(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {.count = 1};
  if (lead == 0xE0) return {.count = 2, .first_low = 0xA0};
  if (lead == 0xED) return {.count = 2, .first_high = 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {.count = 2};
  if (lead == 0xF0) return {.count = 3, .first_low = 0x90};
  if (lead >= 0xF1 && lead <= 0xF3) return {.count = 3};
  if (lead == 0xF4) return {.count = 3, .first_high = 0x8F};
  return {};
}

Sequence FirstSequence(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {1, true};
  const Continuation next = ContinuationOf(lead);
  if (next.count == 0) return {1, false};
  uint8_t low = next.first_low;
  uint8_t high = next.first_high;
  for (size_t i = 1; i <= next.count; ++i) {
    if (i >= text.size()) return {i, false};
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < low || byte > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {next.count + 1, true};
}

// Whether the eight bytes at `bytes` are all ASCII.
bool IsAscii8(const char* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  return (word & 0x8080808080808080) == 0;
}

}  // namespace

std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && IsAscii8(text.data() + at)) {
      at += 8;
      continue;
    }
    const Sequence sequence = FirstSequence(text.substr(at));
    if (!sequence.valid) return at;
    at += sequence.length;
  }
  return std::nullopt;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Sequence sequence = FirstSequence(bytes);
    text += sequence.valid ? bytes.substr(0, sequence.length) : std::string_view("\xEF\xBF\xBD");
    bytes.remove_prefix(sequence.length);
  }
  return text;
}

CodePoint FirstCodePoint(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t value = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) value = value << 6 | (static_cast<uint8_t>(text[i]) & 0x3Fu);
  return {value, length};
}

CodePoint LastCodePoint(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
  return FirstCodePoint(text.substr(start));
}

std::string EncodeUtf8(uint32_t code_point) {
  const auto tail = [code_point](int shift) {
    return static_cast<char>(0x80 | (code_point >> shift & 0x3F));
  };
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  if (code_point < 0x800) return {static_cast<char>(0xC0 | code_point >> 6), tail(0)};
  if (code_point < 0x10000) return {static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)};
}

}  // namespace fedtune
