// SPDX-License-Identifier: Apache-2.0

#include "client/commands/stop_signals.h"

#include <unistd.h>

#include <csignal>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

void AwaitStop(const StopSignals& signals) {
  while (!signals.token().stop_requested()) std::this_thread::yield();
}

TEST(StopSignalsTest, TheFirstAsksForAnEnd) {
  const StopSignals signals;
  ::kill(::getpid(), SIGTERM);
  AwaitStop(signals);
}

TEST(StopSignalsTest, TheSecondIsTheEnd) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto wait_for_nothing = [] {
    const StopSignals signals;
    ::kill(::getpid(), SIGINT);
    AwaitStop(signals);
    ::kill(::getpid(), SIGINT);
    while (true) ::pause();
  };
  EXPECT_EXIT(wait_for_nothing(), ::testing::ExitedWithCode(1), ::testing::IsEmpty());
}

}  // namespace
}  // namespace fedtune
