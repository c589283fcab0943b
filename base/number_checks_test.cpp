// SPDX-License-Identifier: Apache-2.0

#include "base/number_checks.h"

#include <string>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

// Empty when the check takes the text.
std::string Problem(const CLI::Validator& check, std::string text) { return check(text); }

TEST(NumberChecksTest, TakeTheNumbersOfTheirRange) {
  for (const char* text : {"2", "65536"}) EXPECT_EQ(Problem(WholeNumber(2, 65'536), text), "");
  for (const char* text : {"2e-4", "1e-300", "100"})
    EXPECT_EQ(Problem(PositiveNumber(100), text), "");
  for (const char* text : {"0", "0.5", "1"}) EXPECT_EQ(Problem(NumberFrom(0, 1), text), "");
}

TEST(NumberChecksTest, SayWhatAWholeNumberMustBe) {
  for (const char* text : {"1", "-3", "65537", "99999999999999999999", "2.5", "nan", "x", ""}) {
    EXPECT_EQ(Problem(WholeNumber(2, 65'536), text),
              std::string(text) + " must be from 2 to 65536");
  }
}

TEST(NumberChecksTest, SayWhatASeedMustBe) {
  for (const char* text : {"0", "9223372036854775807"}) EXPECT_EQ(Problem(Seed(), text), "");
  for (const char* text : {"-1", "1.5", "many", "9223372036854775808"}) {
    EXPECT_EQ(Problem(Seed(), text), std::string(text) + " must be from 0 to 9223372036854775807");
  }
}

TEST(NumberChecksTest, SayWhatAPositiveNumberMustBe) {
  for (const char* text : {"0", "-1", "100.1", "nan", "inf", "-inf", "1e999", "x"}) {
    EXPECT_EQ(Problem(PositiveNumber(100), text),
              std::string(text) + " must be above 0 and at most 100");
  }
}

TEST(NumberChecksTest, SayWhatANumberMustBe) {
  for (const char* text : {"-0.1", "1.01", "nan", "inf"}) {
    EXPECT_EQ(Problem(NumberFrom(0, 1), text), std::string(text) + " must be from 0 to 1");
  }
}

}  // namespace
}  // namespace fedtune
