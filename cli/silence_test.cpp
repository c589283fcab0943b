// SPDX-License-Identifier: Apache-2.0

// Streams in which nothing comes, though their connection stands.

#include <condition_variable>
#include <mutex>
#include <string>

#include "base/exit_code.h"
#include "base/status.h"
#include "cli/coordinator_connection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/served_administrator.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// Where something is to come first a slow machine needs longer.
constexpr absl::Duration kShort = absl::Milliseconds(200);
constexpr absl::Duration kLong = absl::Seconds(2);

// Says of a log and of a run as much as it is told to at first, and the rest when it is released.
class SilentCoordinator final : public v1::Administration::Service {
 public:
  grpc::Status ReadLog(grpc::ServerContext*, const v1::ReadLogRequest*,
                       grpc::ServerWriter<v1::LogPart>* writer) override {
    if (says_first) writer->Write(v1::LogPart());
    AwaitRelease();
    return grpc::Status::OK;
  }

  grpc::Status WatchRun(grpc::ServerContext*, const v1::WatchRunRequest*,
                        grpc::ServerWriter<v1::RunStatus>* writer) override {
    if (says_first) writer->Write(v1::RunStatus());
    AwaitRelease();
    v1::RunStatus run;
    run.set_state(v1::RunStatus::STATE_FINISHED);
    writer->Write(run);
    return grpc::Status::OK;
  }

  void Release() {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
    released_.notify_all();
  }

  bool says_first = false;

 private:
  void AwaitRelease() {
    std::unique_lock lock(mutex_);
    released_.wait(lock, [this] { return is_released_; });
  }

  std::mutex mutex_;
  std::condition_variable released_;
  bool is_released_ = false;
};

class SilenceTest : public ::testing::Test {
 protected:
  ~SilenceTest() override { coordinator_.Release(); }

  absl::Status ReadLog(absl::Duration longest_silence) {
    return connection_->ReadLog(
        0, {},
        [this](const v1::LogPart&) {
          ++parts_;
          return true;
        },
        longest_silence);
  }

  SilentCoordinator coordinator_;
  const testing::ServedAdministrator ada_{coordinator_};
  const absl::StatusOr<CoordinatorConnection> connection_ = ada_.Connect();
  int parts_ = 0;
};

TEST_F(SilenceTest, ALogOfWhichNothingComesIsGivenUp) {
  const absl::Status status = ReadLog(kShort);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Message(status), HasSubstr("for 200ms, though the connection stands; run"));
}

TEST_F(SilenceTest, ALogOfWhichNothingComesAnyMoreIsGivenUp) {
  coordinator_.says_first = true;
  EXPECT_THAT(ReadLog(kLong), HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(parts_, 1);
}

TEST_F(SilenceTest, ARunOfWhichNothingIsSaidIsGivenUp) {
  const absl::Status status = connection_->WatchRun(
      "run-7f3a", {}, [](const v1::RunStatus&) {}, kShort);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ExitCodeFor(status), 4);
  EXPECT_THAT(Message(status), HasSubstr("does not answer in time"));
}

TEST_F(SilenceTest, ARunInWhichNothingHappensIsWatchedOn) {
  coordinator_.says_first = true;
  v1::RunStatus last;
  const auto changed = [&](const v1::RunStatus& run) {
    last = run;
    if (run.state() == v1::RunStatus::STATE_FINISHED) return;
    // As long as anybody else waits.
    EXPECT_THAT(ReadLog(kLong), HasCode(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(ReadLog(kLong), HasCode(absl::StatusCode::kDeadlineExceeded));
    coordinator_.Release();
  };
  EXPECT_THAT(connection_->WatchRun("run-7f3a", {}, changed, kLong), IsOk());
  EXPECT_EQ(last.state(), v1::RunStatus::STATE_FINISHED);
}

}  // namespace
}  // namespace fedtune
