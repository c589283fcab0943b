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

// Whoever reads it at night looks for the one that stands still, not for a certificate.
TEST(ExplainFailureTest, BlamesNoCertificateForACoordinatorThatStandsStill) {
  for (const auto* message : {"keepalive watchdog timeout", "Handshake read failed",
                              "connection attempt timed out before receiving SETTINGS frame"}) {
    const absl::Status explained =
        ExplainFailure(absl::UnavailableError(message), "fl.example.org:7443");
    EXPECT_THAT(std::string(explained.message()),
                ::testing::AllOf(::testing::HasSubstr("does the coordinator stand still"),
                                 ::testing::Not(::testing::HasSubstr("certificate"))));
  }
}

// As where a renewed certificate was copied half, or is another institution's.
TEST(ExplainFailureTest, SaysThatOurOwnFilesAreNotGood) {
  const absl::Status explained = ExplainFailure(
      absl::UnavailableError("failed to connect to all addresses; last error: UNKNOWN: "
                             "ipv4:10.1.2.3:7443: Failed to create security handshaker"),
      "fl.example.org:7443");
  EXPECT_THAT(std::string(explained.message()),
              ::testing::HasSubstr("this side's certificate cannot be shown"));
}

TEST(ExplainFailureTest, SaysThatAnotherProgramListensThere) {
  const absl::Status explained = ExplainFailure(
      absl::UnavailableError("Tls handshake failed: SSL_ERROR_SSL: error:0A00010B:SSL "
                             "routines::wrong version number"),
      "fl.example.org:8080");
  EXPECT_THAT(std::string(explained.message()),
              ::testing::HasSubstr("what listens there is another program"));
}

TEST(ExplainFailureTest, SaysWhoDoesNotAnswerInTime) {
  const absl::Status explained =
      ExplainFailure(absl::DeadlineExceededError("Deadline Exceeded"), "fl.example.org:7443");
  EXPECT_TRUE(absl::IsDeadlineExceeded(explained));
  EXPECT_THAT(std::string(explained.message()), ::testing::HasSubstr("fl.example.org:7443"));
}

}  // namespace
}  // namespace fedtune
