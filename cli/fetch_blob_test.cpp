// SPDX-License-Identifier: Apache-2.0

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/status.h"
#include "base/status_macros.h"
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

// A coordinator with one blob, in pieces of 1000 bytes, that stands still in the middle of it
// for as long as it lives: its connections are good.
class StandingCoordinator final : public v1::Administration::Service {
 public:
  grpc::Status FetchBlob(grpc::ServerContext*, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override {
    std::unique_lock lock(mutex_);
    offsets_.push_back(request->offset());
    const bool stands = offsets_.size() <= stands_still;
    lock.unlock();
    for (size_t offset = request->offset(); offset < blob.size(); offset += 1000) {
      if (stands && offset >= blob.size() / 2) {
        lock.lock();
        released_.wait(lock, [this] { return is_released_; });
        return grpc::Status::OK;
      }
      v1::BlobChunk chunk;
      chunk.set_offset(offset);
      chunk.set_data(blob.substr(offset, 1000));
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }

  // What stands still ends.
  void Release() {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
    released_.notify_all();
  }

  std::vector<uint64_t> offsets() {
    const std::lock_guard lock(mutex_);
    return offsets_;
  }

  const std::string blob = std::string(10'000, 'a') + "last";
  size_t stands_still = 0;  // In so many fetches, the first ones.

 private:
  std::mutex mutex_;
  std::condition_variable released_;
  bool is_released_ = false;
  std::vector<uint64_t> offsets_;  // At which it was asked.
};

class FetchBlobTest : public ::testing::Test {
 protected:
  ~FetchBlobTest() override { coordinator_.Release(); }

  absl::StatusOr<std::string> Fetch(absl::Duration longest_silence) {
    const auto connection = ada_.Connect();
    RETURN_IF_ERROR(connection.status());
    return connection->FetchBlob(
        Sha256Of(coordinator_.blob), coordinator_.blob.size(), [](double) {}, longest_silence);
  }

  StandingCoordinator coordinator_;
  const testing::ServedAdministrator ada_{coordinator_};
};

TEST_F(FetchBlobTest, AsksAnewWhereNothingComesAnyMoreAndGoesOnWhereItWas) {
  coordinator_.stands_still = 1;
  const auto blob = Fetch(absl::Seconds(2));
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(*blob, coordinator_.blob);
  EXPECT_EQ(coordinator_.offsets().front(), 0U);
  EXPECT_GT(coordinator_.offsets().back(), 0U) << "what had come was not sent again";
}

TEST_F(FetchBlobTest, GivesUpWhereNothingComesAgainAndAgain) {
  coordinator_.stands_still = 1000;
  const absl::Status status = Fetch(absl::Milliseconds(200)).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(ExitCodeFor(status), 4);
  EXPECT_THAT(Message(status), HasSubstr("nothing has come from 127.0.0.1:"));
  EXPECT_THAT(Message(status), HasSubstr("for 200ms, though the connection stands; run"));
}

}  // namespace
}  // namespace fedtune
