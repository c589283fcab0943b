// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/byte_alphabet.h"

#include <array>

#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<uint16_t, 256> MakeAlphabet() {
  std::array<uint16_t, 256> alphabet{};
  uint16_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    alphabet[byte] = StandsForItself(byte) ? static_cast<uint16_t>(byte) : next++;
  }
  return alphabet;
}

// The alphabet has no code point from here on: 256 and the 68 other bytes.
constexpr uint32_t kAlphabetEnd = 256 + 68;

// The byte of each code point, or -1.
constexpr std::array<int16_t, kAlphabetEnd> MakeInverse(const std::array<uint16_t, 256>& alphabet) {
  std::array<int16_t, kAlphabetEnd> inverse{};
  for (int16_t& byte : inverse) byte = -1;
  for (uint32_t byte = 0; byte < 256; ++byte) inverse[alphabet[byte]] = static_cast<int16_t>(byte);
  return inverse;
}

constexpr std::array<uint16_t, 256> kAlphabet = MakeAlphabet();
constexpr std::array<int16_t, kAlphabetEnd> kInverse = MakeInverse(kAlphabet);

}  // namespace

uint32_t CodePointOfByte(uint8_t byte) { return kAlphabet[byte]; }

std::optional<std::string> BytesOfToken(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const CodePoint code_point = FirstCodePoint(token);
    if (code_point.value >= kAlphabetEnd || kInverse[code_point.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kInverse[code_point.value]));
    token.remove_prefix(code_point.length);
  }
  return bytes;
}

std::string TokenOfBytes(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) token += EncodeUtf8(CodePointOfByte(static_cast<uint8_t>(byte)));
  return token;
}

}  // namespace fedtune
