// SPDX-License-Identifier: Apache-2.0

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "cli/coordinator_connection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

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
  ReadLogTest() {
    SetUpRpcLibrary();
    const testing::MemberKeys hub = federation_.Issue(Role::kCoordinator, "hub");
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = federation_.authority_pem();
    options.pem_key_cert_pairs.push_back({hub.key, hub.certificate});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port_);
    builder.RegisterService(&coordinator_);
    server_ = builder.BuildAndStart();
  }

  absl::StatusOr<CoordinatorConnection> Connect() {
    const CredentialFiles files =
        federation_.WriteCredentials(folder_.path(), Role::kAdministrator, "ada");
    return CoordinatorConnection::Open({.coordinator = "127.0.0.1:" + std::to_string(port_),
                                        .certificate = files.certificate,
                                        .key = files.key,
                                        .authority = files.authority,
                                        .revocation_list = {},
                                        .models = {}});
  }

  // Takes so many entries.
  absl::Status Read(uint64_t from, size_t most) {
    const auto connection = Connect();
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

  const testing::TestFederation federation_;
  const testing::TemporaryDirectory folder_;
  TellingCoordinator coordinator_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
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
  const auto connection = Connect();
  ASSERT_THAT(connection, IsOk());
  EXPECT_THAT(connection->ReadLog(0, {},
                                  [](const v1::LogPart&) -> absl::StatusOr<bool> {
                                    return absl::ResourceExhaustedError("the disk is full");
                                  }),
              HasCode(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace fedtune
