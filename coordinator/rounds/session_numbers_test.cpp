// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/session_numbers.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

const Institution kAda{"ada"};

TEST(SessionNumbersTest, KnowsInstitutionsByTheirNumbersAndBack) {
  const SessionNumbers numbers({{kAda, 3}, {Institution{"bern"}, 17}});
  EXPECT_EQ(numbers.Of(kAda), 3);
  EXPECT_EQ(numbers.InstitutionWith(17)->value, "bern");
}

TEST(SessionNumbersTest, WhoIsNotOnTheRosterHasNone) {
  const SessionNumbers numbers({});
  EXPECT_EQ(numbers.Of(kAda), std::nullopt);
  EXPECT_EQ(numbers.InstitutionWith(0), nullptr);
}

TEST(SessionNumbersTest, SaysNamesForNumbers) {
  const SessionNumbers numbers({{kAda, 3}, {Institution{"bern"}, 17}});
  EXPECT_EQ(numbers.WithNames("number 17 and number 3 did not answer, number 4 did"),
            "bern and ada did not answer, number 4 did");
}

TEST(SessionNumbersTest, LeavesATextWithoutNumbersAsItIs) {
  const SessionNumbers numbers({{kAda, 3}});
  EXPECT_EQ(numbers.WithNames("a number of clients, number "), "a number of clients, number ");
}

TEST(SessionNumbersTest, DoesNotTakeANumberThatIsTooLargeForAnother) {
  const SessionNumbers numbers({{kAda, 3}, {Institution{"bern"}, 0}});
  EXPECT_EQ(numbers.WithNames("number 99999999999999"), "number 99999999999999");
}

}  // namespace
}  // namespace fedtune
