// SPDX-License-Identifier: Apache-2.0

#include <stop_token>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "cli/coordinator_connection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/served_administrator.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

// A coordinator whose log has ten entries, and which sends them for as long as it is listened to,
// over and over: whoever has enough is to say so.
class TellingCoordinator final : public v1::Administration::Service {
 public:
  grpc::Status ReadLog(grpc::ServerContext* context, const v1::ReadLogRequest* request,
                       grpc::ServerWriter<v1::LogPart>* writer) override {
    if (is_shutting_down) return grpc::Status::CANCELLED;
    if (request->from() > 10) return {grpc::StatusCode::OUT_OF_RANGE, "the log has 10 entries"};
    for (uint64_t at = request->from(); is_endless || at < 10; ++at) {
      v1::LogPart part;
      if (at == request->from()) part.mutable_checkpoint()->set_note("note");
      part.add_entries("entry " + std::to_string(at));
      if (!writer->Write(part) || context->IsCancelled()) return grpc::Status::CANCELLED;
    }
    return grpc::Status::OK;
  }

  bool is_endless = false;
  bool is_shutting_down = false;
};

class ReadLogTest : public ::testing::Test {
 protected:
  // Takes so many entries.
  absl::Status Read(uint64_t from, size_t most) {
    const auto connection = ada_.Connect();
    RETURN_IF_ERROR(connection.status());
    return connection->ReadLog(from, stop_.get_token(),
                               [&](const v1::LogPart& part) -> absl::StatusOr<bool> {
                                 if (part.has_checkpoint()) ++checkpoints_;
                                 for (const std::string& entry : part.entries()) {
                                   entries_.push_back(entry);
                                 }
                                 if (stops_) stop_.request_stop();
                                 return entries_.size() < most;
                               });
  }

  TellingCoordinator coordinator_;
  const testing::ServedAdministrator ada_{coordinator_};
  std::stop_source stop_;
  bool stops_ = false;
  int checkpoints_ = 0;
  std::vector<std::string> entries_;
};

TEST_F(ReadLogTest, GivesEachPartUntilTheLogEnds) {
  EXPECT_THAT(Read(7, 100), IsOk());
  EXPECT_THAT(entries_, ElementsAre("entry 7", "entry 8", "entry 9"));
  EXPECT_EQ(checkpoints_, 1);
  EXPECT_THAT(Read(11, 100), HasCode(absl::StatusCode::kOutOfRange));
}

TEST_F(ReadLogTest, EndsWhenItHasEnoughOrIsStopped) {
  coordinator_.is_endless = true;
  EXPECT_THAT(Read(0, 3), IsOk());
  EXPECT_EQ(entries_.size(), 3u);
  stops_ = true;
  EXPECT_THAT(Read(0, 1'000'000'000), HasCode(absl::StatusCode::kCancelled));
}

TEST_F(ReadLogTest, ACoordinatorThatShutsDownIsToBeAskedAgain) {
  coordinator_.is_shutting_down = true;
  EXPECT_THAT(Read(0, 100), HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(ReadLogTest, SaysWhatWasWrongWithAPart) {
  const auto connection = ada_.Connect();
  ASSERT_THAT(connection, IsOk());
  EXPECT_THAT(connection->ReadLog(0, {},
                                  [](const v1::LogPart&) -> absl::StatusOr<bool> {
                                    return absl::ResourceExhaustedError("the disk is full");
                                  }),
              HasCode(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace fedtune
