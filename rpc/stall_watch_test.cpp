// SPDX-License-Identifier: Apache-2.0

#include "rpc/stall_watch.h"

#include <thread>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(StallWatchTest, FindsACallInWhichNothingComes) {
  grpc::ClientContext call;
  const StallWatch watch(call, absl::Milliseconds(1));
  while (!watch.has_stalled()) std::this_thread::yield();
}

TEST(StallWatchTest, FindsOneInWhichNothingComesAnyMore) {
  grpc::ClientContext call;
  StallWatch watch(call, absl::Milliseconds(1));
  watch.Progress();
  while (!watch.has_stalled()) std::this_thread::yield();
}

TEST(StallWatchTest, EndsWithTheCallHoweverLongItWouldWait) {
  grpc::ClientContext call;
  StallWatch watch(call, absl::Hours(1));
  watch.Progress();
  EXPECT_FALSE(watch.has_stalled());
}

}  // namespace
}  // namespace fedtune
