// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fedtune {

// The offset of the first byte that does not belong to well-formed UTF-8;
// nothing if all of `text` is well-formed. Overlong forms, surrogates and code
// points above U+10FFFF are not well-formed.
std::optional<size_t> FindInvalidUtf8(std::string_view text);

// `bytes` with U+FFFD in place of every ill-formed part, one for each longest
// beginning of a character, as the Unicode standard recommends (and as Rust's
// and Python's lossy decoders do).
std::string ReplaceInvalidUtf8(std::string_view bytes);

// One code point and the number of bytes it takes.
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};

// The first code point of `text`, which must be well-formed and not empty.
CodePoint FirstCodePoint(std::string_view text);

// The last code point of `text`, which must be well-formed and not empty.
CodePoint LastCodePoint(std::string_view text);

// `code_point` (at most U+10FFFF, no surrogate) as UTF-8.
std::string EncodeUtf8(uint32_t code_point);

}  // namespace fedtune
