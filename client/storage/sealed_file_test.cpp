// SPDX-License-Identifier: Apache-2.0

#include "client/storage/sealed_file.h"

#include <string>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/random_bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kMiB = 1 << 20;

class SealedFileTest : public ::testing::Test {
 protected:
  absl::Status Write(const std::vector<Bytes>& parts) {
    return WriteSealedFile(path_, seal_, std::vector<ByteSpan>(parts.begin(), parts.end()));
  }
  absl::StatusOr<Bytes> Read() const { return ReadSealedFile(path_, seal_); }

  void ExpectDamagedAs(const std::string& content) {
    ASSERT_THAT(WriteFileAtomically(path_, content), IsOk());
    EXPECT_THAT(Read(), HasCode(absl::StatusCode::kDataLoss));
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "state";
  const SecretBytes key_ = SecretBytes(RandomBytes(kAeadKeySize));
  const FileSeal seal_ = {key_, "test"};
};

TEST_F(SealedFileTest, GivesBackWhatWasWritten) {
  for (const size_t size : {size_t{0}, size_t{1}, kMiB - 1, kMiB, kMiB + 1, 2 * kMiB}) {
    const Bytes content = RandomBytes(size);
    const auto half = content.begin() + static_cast<std::ptrdiff_t>(size / 2);
    ASSERT_THAT(Write({{content.begin(), half}, {}, {half, content.end()}}), IsOk());
    const auto read = Read();
    ASSERT_THAT(read, IsOk());
    EXPECT_TRUE(*read == content) << size;
  }
}

TEST_F(SealedFileTest, ShowsNothingOfWhatIsInIt) {
  const std::string canary = "a delta that nobody may read in a file";
  ASSERT_THAT(Write({Bytes(canary.begin(), canary.end())}), IsOk());
  const std::string first = *ReadFile(path_);
  EXPECT_THAT(first, Not(HasSubstr(canary.substr(0, 8))));
  ASSERT_THAT(Write({Bytes(canary.begin(), canary.end())}), IsOk());
  EXPECT_NE(*ReadFile(path_), first) << "a key of its own each time";
}

TEST_F(SealedFileTest, RefusesEveryChangedByte) {
  ASSERT_THAT(Write({{1, 2, 3}}), IsOk());
  const std::string whole = *ReadFile(path_);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] ^= 1;
    ExpectDamagedAs(changed);
  }
}

TEST_F(SealedFileTest, RefusesAFileThatIsCutShortOrTooLong) {
  ASSERT_THAT(Write({RandomBytes(2 * kMiB + 5)}), IsOk());
  const std::string whole = *ReadFile(path_);
  const size_t piece = kMiB + kAeadTagSize;
  for (const size_t size :
       {size_t{0}, size_t{31}, size_t{32}, 32 + piece, 32 + 2 * piece, whole.size() - 1}) {
    ExpectDamagedAs(whole.substr(0, size));
  }
  ExpectDamagedAs(whole + "x");
  ExpectDamagedAs(whole + whole.substr(32));
}

TEST_F(SealedFileTest, RefusesPiecesInAnotherOrder) {
  ASSERT_THAT(Write({RandomBytes(3 * kMiB)}), IsOk());
  const std::string whole = *ReadFile(path_);
  const size_t piece = kMiB + kAeadTagSize;
  ExpectDamagedAs(whole.substr(0, 32) + whole.substr(32 + piece, piece) + whole.substr(32, piece) +
                  whole.substr(32 + 2 * piece));
}

TEST_F(SealedFileTest, OpensWithItsKeyAndForItsPurposeOnly) {
  ASSERT_THAT(Write({{1}}), IsOk());
  const SecretBytes other(RandomBytes(kAeadKeySize));
  EXPECT_THAT(ReadSealedFile(path_, {other, "test"}), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ReadSealedFile(path_, {key_, "rest"}), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SealedFileTest, SaysThatThereIsNone) {
  EXPECT_THAT(Read(), HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
