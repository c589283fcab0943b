// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/open_calls.h"

#include <vector>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(OpenCallsTest, HasAPlaceForEachInstitutionUpToSomeNumber) {
  OpenCalls calls;
  std::vector<OpenCalls::Place> places;
  for (int i = 0; i < OpenCalls::kMost; ++i) places.push_back(calls.Begin({"ada"}));
  EXPECT_NE(places.back(), nullptr);
  EXPECT_EQ(calls.Begin({"ada"}), nullptr);
  EXPECT_NE(calls.Begin({"bea"}), nullptr);
}

TEST(OpenCallsTest, HasItAgainWhenACallIsOver) {
  OpenCalls calls;
  std::vector<OpenCalls::Place> places;
  for (int i = 0; i < OpenCalls::kMost; ++i) places.push_back(calls.Begin({"ada"}));
  places.pop_back();
  EXPECT_NE(calls.Begin({"ada"}), nullptr);
}

}  // namespace
}  // namespace fedtune
