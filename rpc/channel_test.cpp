// SPDX-License-Identifier: Apache-2.0

#include "rpc/channel.h"

#include <string>

#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(SetUpRpcLibraryTest, LocksThatAreTakenInTwoOrdersEndNoProcess) {
  SetUpRpcLibrary();
  absl::Mutex first;
  absl::Mutex second;
  {
    const absl::MutexLock outer(&first);
    const absl::MutexLock inner(&second);
  }
  const absl::MutexLock outer(&second);
  const absl::MutexLock inner(&first);
}

TEST(ExplainFailureTest, TellsALineThatIsSilentFromNoAnswerAtAll) {
  const auto explained = [](const char* message) {
    return ExplainFailure(absl::UnavailableError(message), "fl.example.org:7443");
  };
  EXPECT_TRUE(BrokeOff(explained("keepalive watchdog timeout")));
  EXPECT_TRUE(BrokeOff(explained("Broken pipe")));
  EXPECT_FALSE(BrokeOff(explained("failed to connect to all addresses: connect timeout")));
}

TEST(ExplainFailureTest, SaysWhoDoesNotAnswerInTime) {
  const absl::Status explained =
      ExplainFailure(absl::DeadlineExceededError("Deadline Exceeded"), "fl.example.org:7443");
  EXPECT_TRUE(absl::IsDeadlineExceeded(explained));
  EXPECT_THAT(std::string(explained.message()), ::testing::HasSubstr("fl.example.org:7443"));
}

}  // namespace
}  // namespace fedtune
