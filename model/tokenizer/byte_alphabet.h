// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fedtune {

// How the files of byte-level tokenizers write bytes as text (GPT-2, 2019): the
// 188 printable Latin-1 characters stand for themselves, and the other bytes,
// in their order, for U+0100, U+0101 and so on. A space is written as U+0120.

// The code point that stands for `byte`.
uint32_t CodePointOfByte(uint8_t byte);

// The bytes that `token`, well-formed UTF-8, stands for; nothing if a character
// of it stands for no byte, as in the marks "<｜User｜>".
std::optional<std::string> BytesOfToken(std::string_view token);

// `bytes` as a file writes them.
std::string TokenOfBytes(std::string_view bytes);

}  // namespace fedtune
