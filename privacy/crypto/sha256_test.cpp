// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/sha256.h"

#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;

constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

// FIPS 180-4 and its example values.
TEST(Sha256Test, GivesTheStandardsDigests) {
  EXPECT_EQ(Sha256Of("").ToHex(), kEmpty);
  EXPECT_EQ(Sha256Of("abc").ToHex(), kAbc);
  EXPECT_EQ(Sha256Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").ToHex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Of(std::string(1'000'000, 'a')).ToHex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PiecesGiveTheDigestOfTheWhole) {
  Sha256 hash;
  hash.Update("a").Update("").Update("bc");
  EXPECT_EQ(std::move(hash).Finish(), Sha256Of("abc"));
}

TEST(Sha256Test, BytesOneByOneGiveTheDigestOfTheWhole) {
  std::string content;
  Sha256 hash;
  for (int i = 0; i < 5000; ++i) {
    content.push_back(static_cast<char>(i * 7 + i / 251));
    hash.Update(std::string_view(content).substr(i));
  }
  EXPECT_EQ(std::move(hash).Finish(), Sha256Of(content));
}

TEST(Sha256Test, HashesAFileLargerThanOnePiece) {
  const TemporaryDirectory directory;
  const std::string content(3'000'001, 'x');
  ASSERT_THAT(WriteFileAtomically(directory.path() / "f", content), IsOk());
  EXPECT_EQ(*Sha256OfFile(directory.path() / "f"), Sha256Of(content));
}

TEST(Sha256Test, HashesAnEmptyFile) {
  const TemporaryDirectory directory;
  ASSERT_THAT(WriteFileAtomically(directory.path() / "f", ""), IsOk());
  EXPECT_EQ(Sha256OfFile(directory.path() / "f")->ToHex(), kEmpty);
}

TEST(Sha256Test, SaysThatAFileIsMissing) {
  EXPECT_THAT(Sha256OfFile("/nowhere/at/all"), HasCode(absl::StatusCode::kNotFound));
}

TEST(Sha256Test, RefusesToHashAFolder) { EXPECT_FALSE(Sha256OfFile("/tmp").ok()); }

TEST(DigestTest, ReadsBothForms) {
  EXPECT_EQ(*Digest::Parse(kAbc), Sha256Of("abc"));
  EXPECT_EQ(*Digest::Parse(std::string("sha256:") + kAbc), Sha256Of("abc"));
}

TEST(DigestTest, ReadsUpperCaseAndWritesLowerCase) {
  std::string upper = kAbc;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(Digest::Parse(upper)->ToString(), std::string("sha256:") + kAbc);
}

TEST(DigestTest, TravelsAsItsBytes) {
  const Digest digest = Sha256Of("abc");
  EXPECT_EQ(digest.ToBinary().size(), 32U);
  EXPECT_EQ(*Digest::FromBinary(digest.ToBinary(), "digest"), digest);
}

TEST(DigestTest, RefusesAnotherNumberOfBytesAndNamesThem) {
  const absl::Status status = Digest::FromBinary("abc", "adapter_sha256").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(status), "adapter_sha256 has 3 bytes, a SHA-256 has 32");
}

TEST(DigestTest, RefusesWhatIsTooShort) {
  EXPECT_THAT(Digest::Parse("sha256:abcd"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(DigestTest, RefusesWhatIsTooLong) {
  EXPECT_THAT(Digest::Parse(std::string(kAbc) + "00"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(DigestTest, RefusesALetterThatIsNoDigit) {
  std::string text = kAbc;
  text[63] = 'g';
  EXPECT_THAT(Digest::Parse(text), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(DigestTest, RefusesAnotherAlgorithm) {
  EXPECT_THAT(Digest::Parse(std::string("sha512:") + kAbc),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(DigestTest, ComparesAndHashesByItsBytes) {
  EXPECT_LT(Digest{}, Sha256Of("abc"));
  const absl::flat_hash_set<Digest> seen = {Digest{}, Sha256Of("abc"), Sha256Of("abc")};
  EXPECT_EQ(seen.size(), 2u);
}

}  // namespace
}  // namespace fedtune
