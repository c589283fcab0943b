// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contribution_buffer.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

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

  const std::vector<float> values_ = {1.5F, -2.0F};
  const std::string bytes_{reinterpret_cast<const char*>(values_.data()), 8};
  ContributionBuffer buffer_{HeaderFor(bytes_)};
};

TEST_F(ContributionBufferTest, PutsChunksTogether) {
  ASSERT_THAT(buffer_.Append(0, std::string_view(bytes_).substr(0, 3)), IsOk());
  ASSERT_THAT(buffer_.Append(3, std::string_view(bytes_).substr(3)), IsOk());
  const auto values = buffer_.Finish();
  ASSERT_THAT(values, IsOk());
  EXPECT_THAT(*values, ElementsAre(1.5F, -2.0F));
}

TEST_F(ContributionBufferTest, TakesAContributionWithoutBytes) {
  ContributionBuffer empty(HeaderFor(""));
  const auto values = empty.Finish();
  ASSERT_THAT(values, IsOk());
  EXPECT_TRUE(values->empty());
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
  EXPECT_THAT(buffer_.Finish(), HasCode(kInvalid));
}

TEST_F(ContributionBufferTest, RefusesAnotherDigest) {
  ASSERT_THAT(buffer_.Append(0, "abcdefgh"), IsOk());
  EXPECT_THAT(buffer_.Finish(), HasCode(kInvalid));
}

}  // namespace
}  // namespace fedtune
