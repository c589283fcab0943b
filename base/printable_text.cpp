// SPDX-License-Identifier: Apache-2.0

#include "base/printable_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "fmt/format.h"

namespace fedtune {
namespace {

// A character at the start of a text; `size` is 0 if its bytes are not UTF-8.
struct Character {
  uint32_t code = 0;
  size_t size = 0;
};

Character FirstCharacter(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text.front());
  if (lead < 0x80) return {lead, 1};
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  uint32_t code = lead & (0xffU >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if ((byte & 0xc0) != 0x80) return {};
    code = (code << 6) | (byte & 0x3fU);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[size] || code > 0x10ffff || surrogate) return {};
  return {code, size};
}

// Characters that do something instead of being seen, from - to.
constexpr std::pair<uint32_t, uint32_t> kActing[] = {
    {0x00, 0x1f},                        // C0 controls.
    {0x7f, 0x9f},                        // Delete and the C1 controls.
    {0x061c, 0x061c},                    // Writing direction, here and below.
    {0x200e, 0x200f}, {0x2028, 0x202e},  // Separators of lines and paragraphs among them.
    {0x2066, 0x2069}, {0xfeff, 0xfeff},  // Byte order mark.
};

bool Acts(uint32_t code) {
  for (const auto& [from, to] : kActing) {
    if (code >= from && code <= to) return true;
  }
  return false;
}

std::string Escape(uint32_t code) {
  switch (code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return code < 0x80 ? fmt::format("\\x{:02x}", code) : fmt::format("\\u{:04x}", code);
  }
}

enum class LineBreaks { kEscaped, kKept };

// How the first character of `text` is shown.
std::string Shown(std::string_view text, Character first, LineBreaks line_breaks) {
  if (first.size == 0) return fmt::format("\\x{:02x}", static_cast<uint8_t>(text.front()));
  const bool keep = !Acts(first.code) || (line_breaks == LineBreaks::kKept && first.code == '\n');
  return keep ? std::string(text.substr(0, first.size)) : Escape(first.code);
}

std::string Printable(std::string_view text, LineBreaks line_breaks, size_t most_bytes) {
  std::string printable;
  printable.reserve(std::min(text.size(), most_bytes));
  while (!text.empty()) {
    const Character first = FirstCharacter(text);
    const std::string shown = Shown(text, first, line_breaks);
    if (shown.size() > most_bytes - printable.size()) break;
    printable += shown;
    text.remove_prefix(std::max<size_t>(first.size, 1));
  }
  return printable;
}

}  // namespace

std::string PrintableText(std::string_view text, size_t most_bytes) {
  return Printable(text, LineBreaks::kEscaped, most_bytes);
}

std::string PrintableLines(std::string_view text) {
  return Printable(text, LineBreaks::kKept, std::string_view::npos);
}

}  // namespace fedtune
