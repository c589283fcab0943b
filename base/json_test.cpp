// SPDX-License-Identifier: Apache-2.0

#include "base/json.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;

TEST(ParseJsonTest, ReadsAnObject) {
  const auto value = ParseJson(R"({"a": [1, 2], "b": {"a": 3}})", "x.json");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ((*value)["b"]["a"], 3);
}

TEST(ParseJsonTest, RefusesDuplicateKeys) {
  EXPECT_THAT(ParseJson(R"({"a": 1, "a": 2})", "x.json"),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(ParseJsonTest, RefusesDeepNesting) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(ParseJson(deep, "x.json"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(ParseJsonTest, SaysAtWhichByteTheTextEnds) {
  const auto value = ParseJson(R"({"a": )", "x.json");
  ASSERT_FALSE(value.ok());
  EXPECT_EQ(value.status().message(), "x.json: not JSON (at byte 7)");
}

TEST(ParseJsonTest, KnowsWhatACloneWithoutGitLfsHasInPlaceOfAFile) {
  const auto value = ParseJson("version https://git-lfs.github.com/spec/v1\noid 0\n", "x.json");
  ASSERT_FALSE(value.ok());
  EXPECT_EQ(value.status().message(),
            "x.json: is a pointer of Git LFS, not the file: run git lfs pull");
}

TEST(ParseJsonTest, RefusesDuplicateKeysWithinOtherValues) {
  const auto refused = ParseJson(R"([{"a": {"b": 1}}, {"b": [{"c": 1, "d": {}, "c": 2}]}])", "p");
  EXPECT_THAT(refused.status().message(), HasSubstr("p: duplicate key \"c\""));
  EXPECT_TRUE(ParseJson(R"([{"a": {"a": 1}}, {"a": [{"a": 1}]}])", "p").ok());
}

// Each is looked at once: if each looked through those before it, this would take an hour.
TEST(ParseJsonTest, ReadsAMillionObjectsInAnArray) {
  std::string text = "[{}";
  for (int i = 1; i < 1'000'000; ++i) text += ",{}";
  EXPECT_EQ(ParseJson(text + "]", "p").value().size(), 1'000'000u);
}

TEST(ParseJsonTest, RefusesTrailingText) {
  EXPECT_THAT(ParseJson("{} {}", "x.json"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(JsonLineTest, WritesBytesOfAFileNameThatAreNoText) {
  EXPECT_EQ(JsonLine({{"path", "caf\xe9"}, {"a", 1}}), "{\"path\":\"caf\uFFFD\",\"a\":1}\n");
}

}  // namespace
}  // namespace fedtune
