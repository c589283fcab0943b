// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contribution_buffer.h"

#include <filesystem>
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

  ContributionBuffer New(std::string_view bytes) const {
    return *ContributionBuffer::Create(HeaderFor(bytes), directory_.path());
  }

  static std::vector<float> ValuesOf(const VerifiedValues& verified) {
    std::vector<float> values(static_cast<size_t>(verified.range.count()));
    EXPECT_THAT(verified.values->Read(0, values), IsOk());
    return values;
  }

  const std::vector<float> values_ = {1.5F, -2.0F};
  const std::string bytes_{reinterpret_cast<const char*>(values_.data()), 8};
  const testing::TemporaryDirectory directory_;
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
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(ContributionBufferTest, ALargeOneThatTheDiskDoesNotTakeIsToComeAgain) {
  ContributionHeader header;
  header.size_bytes = uint64_t{1} << 60;
  EXPECT_THAT(ContributionBuffer::Create(header, directory_.path()),
              HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ContributionBuffer::Create(header, directory_.path() / "none"),
              HasCode(absl::StatusCode::kUnavailable));
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

}  // namespace
}  // namespace fedtune
