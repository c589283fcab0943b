// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/canonical_bytes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

Bytes Sample() {
  CanonicalWriter writer;
  writer.U8(7).U32(0x01020304).U64(9).Fixed(Sha256Of("x")).Sized("name").U32(2);
  return std::move(writer).Take();
}

TEST(CanonicalBytesTest, ReadsBackWhatWasWritten) {
  const Bytes bytes = Sample();
  EXPECT_THAT(std::span(bytes).subspan(1, 4), ::testing::ElementsAre(1, 2, 3, 4));
  CanonicalReader reader(bytes);
  EXPECT_EQ(reader.U8(), 7);
  EXPECT_EQ(reader.U32(), 0x01020304u);
  EXPECT_EQ(reader.U64(), 9u);
  EXPECT_EQ(reader.ReadDigest(), Sha256Of("x"));
  EXPECT_EQ(reader.Sized(4), (Bytes{'n', 'a', 'm', 'e'}));
  EXPECT_EQ(reader.U32(), 2u);
  EXPECT_THAT(reader.Finish("sample"), IsOk());
}

TEST(CanonicalBytesTest, PartsCannotBeShiftedIntoEachOther) {
  EXPECT_NE(CanonicalWriter().Sized("ab").Sized("c").bytes(),
            CanonicalWriter().Sized("a").Sized("bc").bytes());
}

TEST(CanonicalBytesTest, RefusesEveryShorterMessage) {
  const Bytes bytes = Sample();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CanonicalReader reader{ByteSpan(bytes).first(size)};
    reader.U8();
    reader.U32();
    reader.U64();
    reader.ReadDigest();
    reader.Sized(4);
    reader.U32();
    EXPECT_THAT(reader.Finish("sample"), HasCode(absl::StatusCode::kInvalidArgument)) << size;
  }
}

TEST(CanonicalBytesTest, RefusesBytesAfterTheEnd) {
  const Bytes bytes = {1, 2};
  CanonicalReader reader(bytes);
  reader.U8();
  EXPECT_THAT(reader.Finish("sample"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(CanonicalBytesTest, RefusesPartsThatAreTooLong) {
  const Bytes bytes = CanonicalWriter().Sized("name").bytes();
  CanonicalReader reader(bytes);
  EXPECT_TRUE(reader.Sized(3).empty());
  EXPECT_THAT(reader.Finish("sample"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(CanonicalBytesTest, RefusesCountsThatTheRestCannotHold) {
  const Bytes bytes = CanonicalWriter().U32(3).U64(0).bytes();
  EXPECT_EQ(CanonicalReader(bytes).Count(10, 2), 3u);
  EXPECT_EQ(CanonicalReader(bytes).Count(10, 3), 0u);
  EXPECT_EQ(CanonicalReader(bytes).Count(2, 2), 0u);
}

}  // namespace
}  // namespace fedtune
