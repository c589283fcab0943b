// SPDX-License-Identifier: Apache-2.0

#include "base/toml.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

TomlDocument Document(std::string_view text) { return *TomlDocument::Parse(text, "plan.toml"); }

TEST(TomlDocumentTest, ReadsFieldsAndSections) {
  TomlDocument document = Document("name = 'a'\n[adapter]\nrank = 16\ntargets = ['x', 'y']\n");
  std::string name;
  int64_t rank = 0;
  std::vector<std::string> targets;
  TomlSection root = document.root();
  root.Required("name", name);
  TomlSection adapter = root.Section("adapter");
  adapter.Required("rank", rank);
  adapter.Optional("targets", targets);
  EXPECT_TRUE(document.Finish().ok()) << document.Finish();
  EXPECT_EQ(name, "a");
  EXPECT_EQ(rank, 16);
  EXPECT_THAT(targets, ElementsAre("x", "y"));
}

TEST(TomlDocumentTest, SaysWhichKeyWasProbablyMeant) {
  TomlDocument document = Document("[training]\nlearning_rat = 1\n");
  double rate = 0;
  TomlSection root = document.root();
  root.Section("training").Optional("learning_rate", rate);
  EXPECT_EQ(document.Finish().message(),
            "plan.toml:2: unknown key \"learning_rat\" in [training]; did you mean learning_rate?");
}

TEST(TomlDocumentTest, SaysWhatIsMissing) {
  TomlDocument document = Document("");
  std::string name;
  document.root().Required("name", name);
  EXPECT_EQ(document.Finish().message(), "plan.toml: key name is missing");
}

TEST(TomlDocumentTest, KeepsTheFieldWhenTheTypeIsWrong) {
  TomlDocument document = Document("rank = 'x'\n");
  int64_t rank = 8;
  document.root().Optional("rank", rank);
  EXPECT_EQ(rank, 8);
  EXPECT_EQ(document.Finish().message(), "plan.toml:1: rank must be a whole number");
}

TEST(TomlDocumentTest, RoundsAWholeNumberThatHasMoreDigitsThanADouble) {
  TomlDocument document = Document("rate = 9223372036854775807\n");
  double rate = 1;
  document.root().Optional("rate", rate);
  EXPECT_TRUE(document.Finish().ok()) << document.Finish();
  EXPECT_EQ(rate, 9223372036854775808.0);
}

TEST(TomlDocumentTest, RefusesANameThatIsEmpty) {
  TomlDocument document = Document("policy = ''\ntrain = ''\neval = 3\nkey = 'k'\n");
  std::string policy, train, eval, key, absent;
  TomlSection root = document.root();
  root.OptionalName("policy", policy);
  root.RequiredName("train", train);
  root.OptionalName("eval", eval);
  root.OptionalName("key", key);
  root.OptionalName("absent", absent);
  EXPECT_EQ(key, "k");
  EXPECT_EQ(document.Finish().message(),
            "plan.toml:1: policy must not be empty; to go without it, leave the key out\n"
            "plan.toml:2: train must not be empty\n"
            "plan.toml:3: eval must be a string in quotes");
}

TEST(TomlDocumentTest, NamesTheLineThatIsNotToml) {
  const auto document = TomlDocument::Parse("a = 1\nb = = 2\n", "plan.toml");
  ASSERT_FALSE(document.ok());
  EXPECT_THAT(std::string(document.status().message()),
              ::testing::StartsWith("plan.toml:2: not TOML"));
}

TEST(TomlDocumentTest, RefusesAKeyThatWouldUseUpTheStack) {
  std::string text = "a = 1\nb";
  for (int part = 0; part < 1'000'000; ++part) text += ".b";
  const auto document = TomlDocument::Parse(text + " = 1\n", "plan.toml");
  ASSERT_FALSE(document.ok());
  EXPECT_EQ(document.status().message(), "plan.toml:2: a key has more than 32 parts");
}

}  // namespace
}  // namespace fedtune
