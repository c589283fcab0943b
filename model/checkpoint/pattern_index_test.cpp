// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/pattern_index.h"

#include <random>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

NamePatterns<int> PatternsOf(const std::vector<std::string>& texts) {
  NamePatterns<int> patterns;
  for (const std::string& text : texts) {
    patterns.Add(*NamePattern::Create(text), static_cast<int>(patterns.all().size()));
  }
  return patterns;
}

TEST(NamePatternsTest, TheFirstThatMatchesCountsWhicheverFormItHas) {
  const NamePatterns<int> patterns =
      PatternsOf({"1.q_proj", "(q|k)_proj", "k_proj", "layers.0.o_proj", "o_proj", "o_proj"});
  EXPECT_EQ(patterns.First("layers.1.q_proj"), 0);
  EXPECT_EQ(patterns.First("layers.2.q_proj"), 1);
  EXPECT_EQ(patterns.First("layers.2.k_proj"), 1);
  EXPECT_EQ(patterns.First("layers.0.o_proj"), 3);
  EXPECT_EQ(patterns.First("layers.1.o_proj"), 4);
  EXPECT_EQ(patterns.First("lm_head"), std::nullopt);
}

// Texts of a few letters, in which nearly everything matches something.
TEST(NamePatternsTest, FindWhatLookingAtOneAfterTheOtherFinds) {
  std::mt19937 random(7);
  const auto draw = [&random](std::string_view letters, size_t most) {
    std::string text;
    for (size_t i = 1 + random() % most; i > 0; --i) text += letters[random() % letters.size()];
    return text;
  };
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<std::string> texts;
    for (int i = 0; i < 12; ++i) texts.push_back(draw("ab.", 5) + (i % 4 == 3 ? "?" : ""));
    const NamePatterns<int> patterns = PatternsOf(texts);
    for (int i = 0; i < 20; ++i) {
      const std::string name = draw("ab..", 7);
      std::optional<int> expected;
      for (const auto& [pattern, number] : patterns.all()) {
        if (!expected && pattern.Matches(name)) expected = number;
      }
      EXPECT_EQ(patterns.First(name), expected) << name << " in " << fmt::format("{}", repeat);
    }
  }
}

TEST(NamePatternsTest, ManyPlainOnesTakeOneLook) {
  NamePatterns<int> patterns;
  for (int i = 100; i < 1'000; ++i) {
    patterns.Add(*NamePattern::Create(fmt::format("layers.{}.q_proj", i)), i);
  }
  EXPECT_EQ(patterns.looks(), 1U);
  EXPECT_EQ(patterns.First("model.layers.567.q_proj"), 567);
}

}  // namespace
}  // namespace fedtune
