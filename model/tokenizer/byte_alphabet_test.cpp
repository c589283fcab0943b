// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/byte_alphabet.h"

#include <set>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(ByteAlphabetTest, WritesEveryByteAsACharacterOfItsOwn) {
  std::set<uint32_t> seen;
  for (int byte = 0; byte < 256; ++byte) seen.insert(CodePointOfByte(static_cast<uint8_t>(byte)));
  EXPECT_EQ(seen.size(), 256u);
}

TEST(ByteAlphabetTest, ReadsBackAllBytes) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  EXPECT_EQ(BytesOfToken(TokenOfBytes(bytes)), bytes);
}

TEST(ByteAlphabetTest, AgreesWithThePublishedExamples) {
  EXPECT_EQ(TokenOfBytes(" the"), "\u0120the");
  EXPECT_EQ(TokenOfBytes("\n"), "\u010A");
  EXPECT_EQ(TokenOfBytes("\xC2\xAD"), "\u00C2\u0143");
  EXPECT_EQ(TokenOfBytes("\x7F"), "\u0121");
}

TEST(ByteAlphabetTest, KnowsNoBytesForOtherCharacters) {
  EXPECT_EQ(BytesOfToken(" "), std::nullopt);
  EXPECT_EQ(BytesOfToken("a\u0144"), std::nullopt);
  EXPECT_EQ(BytesOfToken("<\uFF5CUser\uFF5C>"), std::nullopt);
}

}  // namespace
}  // namespace fedtune
