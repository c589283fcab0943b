// SPDX-License-Identifier: Apache-2.0

#include "base/exhaustion.h"

#include <sys/resource.h>

#include <csignal>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

template <typename Exception>
void ThrowOnAThread(Exception exception) {
  ExplainExhaustion();
  std::thread([&] { throw exception; }).join();
}

void LimitAddressSpace(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_AS, &limit);
}

TEST(ExhaustionTest, NoMemoryOnAnyThreadEndsWithAMessage) {
  EXPECT_EXIT(ThrowOnAThread(std::bad_alloc()), ExitedWithCode(1),
              "error: out of memory; give this program more, .*ulimit -v");
}

TEST(ExhaustionTest, AThreadThatCannotBeStartedEndsWithAMessage) {
  EXPECT_EXIT(ThrowOnAThread(std::system_error(
                  std::make_error_code(std::errc::resource_unavailable_try_again))),
              ExitedWithCode(1), "error: no thread can be started");
}

TEST(ExhaustionTest, OtherFaultsOfOursAbort) {
  EXPECT_EXIT(ThrowOnAThread(std::logic_error("a fault")), KilledBySignal(SIGABRT), "");
}

TEST(ExhaustionTest, CaughtOrNotTheFirstMissingMemoryCanEndTheProcess) {
  const auto run_out = [] {
    EndWithoutMemory();
    std::get_new_handler()();
  };
  EXPECT_EXIT(run_out(), ExitedWithCode(1), "error: out of memory");
}

TEST(ExhaustionTest, TooLittleAddressSpaceIsSaidWithBothNumbers) {
  const auto start = [] {
    LimitAddressSpace(rlim_t{200'000'000});
    RequireAddressSpace(300'000'000);
  };
  EXPECT_EXIT(start(), ExitedWithCode(1),
              "error: this process may use 200.0 MB of address space, and needs 300.0 MB");
}

TEST(ExhaustionTest, EnoughAddressSpaceIsEnough) {
  RequireAddressSpace(1);
  SUCCEED();
}

TEST(ExhaustionTest, ManyFilesAreAsManyAsTheSystemAllows) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{64, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  AllowManyFiles();
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace fedtune
