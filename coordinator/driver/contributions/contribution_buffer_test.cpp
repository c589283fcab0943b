// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/contribution_buffer.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class ContributionBufferTest : public ::testing::Test {
 protected:
  static ContributionHeader HeaderFor(std::string_view bytes) {
    ContributionHeader header;
    header.size_bytes = bytes.size();
    header.sha256 = Sha256Of(bytes);
    return header;
  }

  ContributionBuffer New(std::string_view bytes) {
    return *ContributionBuffer::Create(HeaderFor(bytes),
                                       *SpooledBytes::Create(pack_, bytes.size()));
  }

  static std::vector<float> ValuesOf(const VerifiedValues& verified) {
    std::vector<float> values(static_cast<size_t>(verified.range.count()));
    EXPECT_THAT(verified.values->Read(0, values), IsOk());
    return values;
  }

  const std::vector<float> values_ = {1.5F, -2.0F};
  const std::string bytes_{reinterpret_cast<const char*>(values_.data()), 8};
  // Of a contribution that is kept.
  std::string Kept(std::string_view bytes) {
    ContributionBuffer buffer = New(bytes);
    EXPECT_THAT(buffer.Append(0, bytes), IsOk());
    const auto verified = std::move(buffer).Finish();
    EXPECT_THAT(verified, IsOk());
    Keep(verified->values->bytes());
    return verified->values->bytes().name();
  }

  void Keep(SpooledBytes& bytes) {
    SpooledBytes* one = &bytes;
    EXPECT_THAT(bytes.is_small() ? SpooledBytes::KeepTogether(pack_, {&one, 1}) : bytes.Keep(),
                IsOk());
  }

  // By another process.
  absl::StatusOr<VerifiedValues> Restored(
      const ContributionHeader& header, const std::string& name,
      const std::optional<SpooledContent>& content = std::nullopt) const {
    Spool::OpenFiles open;
    return ContributionBuffer::Restore(header, spool_, name, content, open);
  }

  std::filesystem::path FileOf(const std::string& name) const {
    return directory_.path() / name.substr(0, name.find('+'));
  }

  const testing::TemporaryDirectory directory_;
  const Spool spool_ = *Spool::Open(directory_.path());
  SpoolPack pack_{spool_, "run-1"};
  ContributionBuffer buffer_ = New(bytes_);
};

TEST_F(ContributionBufferTest, PutsChunksTogether) {
  ASSERT_THAT(buffer_.Append(0, std::string_view(bytes_).substr(0, 3)), IsOk());
  ASSERT_THAT(buffer_.Append(3, std::string_view(bytes_).substr(3)), IsOk());
  const auto verified = std::move(buffer_).Finish();
  ASSERT_THAT(verified, IsOk());
  EXPECT_THAT(ValuesOf(*verified), ElementsAre(1.5F, -2.0F));
  EXPECT_EQ(verified->range.extreme(), -2.0F);
}

TEST_F(ContributionBufferTest, TakesAContributionWithoutBytes) {
  const auto verified = New("").Finish();
  ASSERT_THAT(verified, IsOk());
  EXPECT_EQ(verified->range.count(), 0);
}

TEST_F(ContributionBufferTest, GivesBackALargeOneFromTheDiskInWhateverChunksItCame) {
  std::vector<float> large((size_t{5} << 20) / sizeof(float) + 3);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<float>(i % 1021);
  const std::string_view bytes = ValueBytes(large);
  ContributionBuffer buffer = New(bytes);
  constexpr size_t kOddChunk = 999'983;
  for (size_t offset = 0; offset < bytes.size(); offset += kOddChunk) {
    ASSERT_THAT(buffer.Append(offset, bytes.substr(offset, kOddChunk)), IsOk());
  }
  const auto verified = std::move(buffer).Finish();
  ASSERT_THAT(verified, IsOk());
  EXPECT_EQ(ValuesOf(*verified), large);
  EXPECT_EQ(verified->range.extreme(), 1020);
}

TEST_F(ContributionBufferTest, WhatHasChangedOnTheDiskIsNotTakenForWhatCame) {
  std::vector<float> large((size_t{5} << 20) / sizeof(float) + 3);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<float>(i % 1021);
  ContributionBuffer buffer = New(ValueBytes(large));
  ASSERT_THAT(buffer.Append(0, ValueBytes(large)), IsOk());
  const auto verified = std::move(buffer).Finish();
  ASSERT_THAT(verified, IsOk());
  ASSERT_THAT(verified->values->bytes().Keep(), IsOk());
  const std::filesystem::path file = directory_.path() / verified->values->bytes().name();
  std::fstream(file).seekp(4 * 50'000).put('x');
  std::vector<float> some(100);
  EXPECT_THAT(verified->values->Read(0, some), IsOk());
  EXPECT_THAT(verified->values->Read(49'950, some), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(verified->values->Read(49'150, some), HasCode(absl::StatusCode::kDataLoss))
      << "the block after the first is read, too";
  EXPECT_THAT(verified->values->Read(static_cast<int64_t>(large.size()) - 100, some), IsOk());
  EXPECT_EQ(some.back(), large.back());
}

TEST_F(ContributionBufferTest, WhatIsNotKeptLeavesNothing) {
  const std::filesystem::directory_iterator end;
  const auto before = std::distance(std::filesystem::directory_iterator(directory_.path()), end);
  const std::vector<float> large(size_t{3} << 20, 0.5F);
  {
    ContributionBuffer buffer = New(ValueBytes(large));
    ASSERT_THAT(buffer.Append(0, ValueBytes(large)), IsOk());
    ASSERT_THAT(std::move(buffer).Finish(), IsOk());
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), end), before);
}

TEST_F(ContributionBufferTest, ALargeOneThatTheDiskDoesNotTakeIsToComeAgain) {
  EXPECT_THAT(SpooledBytes::Create(pack_, uint64_t{1} << 60),
              HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(ContributionBufferTest, WhatIsKeptComesBackInAnotherProcess) {
  const std::vector<float> large(size_t{3} << 20, 0.5F);
  for (const std::string_view bytes : {std::string_view(bytes_), ValueBytes(large)}) {
    const std::string name = Kept(bytes);
    const auto restored = Restored(HeaderFor(bytes), name);
    ASSERT_THAT(restored, IsOk()) << restored.status();
    EXPECT_EQ(ValueBytes(ValuesOf(*restored)), bytes);
    EXPECT_EQ(restored->range.extreme(), bytes.size() == 8 ? -2.0F : 0.5F);
  }
}

TEST_F(ContributionBufferTest, ASmallOneThatIsKeptIsReadWhereItLiesAndNotBelievedBlindly) {
  ASSERT_THAT(buffer_.Append(0, bytes_), IsOk());
  const auto verified = std::move(buffer_).Finish();
  ASSERT_THAT(verified, IsOk());
  Keep(verified->values->bytes());
  EXPECT_THAT(ValuesOf(*verified), ElementsAre(1.5F, -2.0F));
  std::fstream(FileOf(verified->values->bytes().name())).seekp(2).put('x');
  std::vector<float> values(2);
  EXPECT_THAT(verified->values->Read(0, values), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(ContributionBufferTest, ALargeOneWhoseContentIsKnownIsReadWhenItIsChecked) {
  const std::vector<float> large(size_t{3} << 20, 0.5F);
  ContributionBuffer buffer = New(ValueBytes(large));
  ASSERT_THAT(buffer.Append(0, ValueBytes(large)), IsOk());
  const auto verified = std::move(buffer).Finish();
  ASSERT_THAT(verified, IsOk());
  ASSERT_THAT(verified->values->bytes().Keep(), IsOk());
  const std::string name = verified->values->bytes().name();
  const ContributionHeader header = HeaderFor(ValueBytes(large));
  const auto restored = Restored(header, name, verified->content());
  ASSERT_THAT(restored, IsOk()) << restored.status();
  EXPECT_EQ(restored->range.extreme(), 0.5F);
  EXPECT_THAT(restored->values->Check(), IsOk());
  std::fstream(directory_.path() / name).seekp(1'000'000).put('x');
  const auto damaged = Restored(header, name, verified->content());
  ASSERT_THAT(damaged, IsOk());
  EXPECT_THAT(damaged->values->Check(), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(ContributionBufferTest, ABitThatChangesOnTheDiskIsNoticed) {
  for (size_t byte = 0; byte < bytes_.size(); ++byte) {
    const std::string name = Kept(bytes_);
    std::fstream file(FileOf(name));
    const size_t begin = std::stoul(name.substr(name.find('+')));
    file.seekp(static_cast<std::streamoff>(begin + byte)).put(static_cast<char>(bytes_[byte] ^ 4));
    file.close();
    EXPECT_THAT(Restored(HeaderFor(bytes_), name), HasCode(absl::StatusCode::kDataLoss));
  }
}

// A large one, in several calls.
class CutOffUploadTest : public ContributionBufferTest {
 protected:
  CutOffUploadTest() {
    for (size_t i = 0; i < large_.size(); ++i) large_[i] = static_cast<float>(i % 1021);
  }

  ContributionBuffer Call() {
    return *ContributionBuffer::Create(
        HeaderFor(bytes_),
        *SpooledBytes::CreateOrGoOn(pack_, "0-1-uke", Sha256Of(bytes_), bytes_.size()));
  }

  // The first call brings so many bytes.
  void BreakOffAfter(size_t size) {
    ContributionBuffer buffer = Call();
    ASSERT_THAT(buffer.Append(0, bytes_.substr(0, size)), IsOk());
  }

  std::vector<float> large_ = std::vector<float>((size_t{5} << 20) / sizeof(float) + 3);
  const std::string_view bytes_ = ValueBytes(large_);
};

TEST_F(CutOffUploadTest, GoesOnWhereItWas) {
  for (const size_t cut : {size_t{1}, size_t{1'000'003}, size_t{3} << 20}) {
    BreakOffAfter(cut);
    ContributionBuffer buffer = Call();
    EXPECT_LE(buffer.received(), cut);
    EXPECT_GE(buffer.received() + (size_t{128} << 10), cut);
    ASSERT_THAT(buffer.Append(buffer.received(), bytes_.substr(buffer.received())), IsOk());
    const auto verified = std::move(buffer).Finish();
    ASSERT_THAT(verified, IsOk()) << verified.status();
    EXPECT_EQ(ValuesOf(*verified), large_);
    EXPECT_EQ(verified->range.extreme(), 1020);
    verified->values->bytes().Discard();
  }
}

TEST_F(CutOffUploadTest, MayBeginAnew) {
  BreakOffAfter(size_t{3} << 20);
  ContributionBuffer buffer = Call();
  ASSERT_THAT(buffer.Append(0, bytes_), IsOk());
  const auto verified = std::move(buffer).Finish();
  ASSERT_THAT(verified, IsOk());
  EXPECT_EQ(ValuesOf(*verified), large_);
}

// As after a power cut: the client is not to blame, and begins anew.
TEST_F(CutOffUploadTest, WhatChangedOnTheDiskMeanwhileIsSentAgain) {
  BreakOffAfter(size_t{3} << 20);
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    std::fstream(entry.path()).put('x');
  }
  ContributionBuffer buffer = Call();
  ASSERT_THAT(buffer.Append(buffer.received(), bytes_.substr(buffer.received())), IsOk());
  EXPECT_THAT(std::move(buffer).Finish(), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(Call().received(), 0u);
}

TEST_F(ContributionBufferTest, RefusesAGap) {
  ASSERT_THAT(buffer_.Append(0, "abc"), IsOk());
  EXPECT_THAT(buffer_.Append(4, "d"), HasCode(kInvalid));
}

TEST_F(ContributionBufferTest, RefusesAChunkThatComesTwice) {
  ASSERT_THAT(buffer_.Append(0, "abc"), IsOk());
  EXPECT_THAT(buffer_.Append(0, "abc"), HasCode(kInvalid));
}

TEST_F(ContributionBufferTest, RefusesMoreBytesThanTheHeaderSaid) {
  EXPECT_THAT(buffer_.Append(0, bytes_ + "x"), HasCode(kInvalid));
}

TEST_F(ContributionBufferTest, RefusesAnEndThatComesTooEarly) {
  ASSERT_THAT(buffer_.Append(0, std::string_view(bytes_).substr(0, 4)), IsOk());
  EXPECT_THAT(std::move(buffer_).Finish(), HasCode(kInvalid));
}

TEST_F(ContributionBufferTest, RefusesAnotherDigest) {
  ASSERT_THAT(buffer_.Append(0, "abcdefgh"), IsOk());
  EXPECT_THAT(std::move(buffer_).Finish(), HasCode(kInvalid));
}

// Of a file system that can take space ahead, as most can.
TEST_F(ContributionBufferTest, TakesTheSpaceOfALargeOneBeforeItsFirstChunk) {
  const std::string large(size_t{5} << 20, '\0');
  const auto taken = [this] {
    int64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      struct stat status {};
      EXPECT_EQ(::stat(entry.path().c_str(), &status), 0);
      bytes += status.st_blocks * 512;
    }
    return bytes;
  };
  auto bytes = SpooledBytes::CreateOrGoOn(pack_, "0-1-ada", Sha256Of(large), large.size());
  ASSERT_THAT(bytes, IsOk());
  const int64_t before = taken();
  if (before < std::ssize(large)) GTEST_SKIP() << "this file system takes no space ahead";
  const auto buffer = ContributionBuffer::Create(HeaderFor(large), *std::move(bytes));
  ASSERT_THAT(buffer, IsOk());
  EXPECT_EQ(taken(), before);
}

}  // namespace
}  // namespace fedtune
