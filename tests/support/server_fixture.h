// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/rpc/server.h"
#include "coordinator/rpc/training_conversion.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/fedtune/v1/administration.grpc.pb.h"
#include "proto/fedtune/v1/training.grpc.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_plan.h"

namespace fedtune::testing {

MATCHER_P(HasGrpcCode, code, "") {
  *result_listener << "code " << arg.error_code() << ", \"" << arg.error_message() << "\"";
  return arg.error_code() == code;
}
MATCHER(IsGrpcOk, "is OK") {
  *result_listener << "code " << arg.error_code() << ", \"" << arg.error_message() << "\"";
  return arg.ok();
}

// One hospital's client as the coordinator sees it: it does what the test says.
class FakeClient {
 public:
  FakeClient(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Training::NewStub(channel)) {}

  ~FakeClient() { HangUp(); }

  v1::Training::Stub& stub() { return *stub_; }

  // Opens a session and says hello; the welcome is what Receive() gives first.
  void SayHello() {
    context_ = std::make_unique<grpc::ClientContext>();
    session_ = stub_->Session(context_.get());
    v1::ClientMessage hello;
    hello.mutable_hello()->set_client_version("test");
    Send(hello);
  }

  void Send(const v1::ClientMessage& message) { session_->Write(message); }

  // The next message; an empty one when the session has ended.
  v1::CoordinatorMessage Receive() {
    v1::CoordinatorMessage message;
    if (!session_->Read(&message)) message.Clear();
    return message;
  }

  // How the session ended. Requires that it has.
  grpc::Status End() { return std::exchange(session_, nullptr)->Finish(); }

  void HangUp() {
    if (session_ == nullptr) return;
    context_->TryCancel();
    End();
  }

  void Accept(const v1::RunInvitation& invitation, int64_t example_count) {
    v1::ClientMessage message;
    message.mutable_run_decision()->set_run_id(invitation.run_id());
    message.mutable_run_decision()->set_accepted(true);
    message.mutable_run_decision()->set_example_count(example_count);
    Send(message);
  }

  // Welcome, invitation, acceptance; the invitation is kept.
  void Join(int64_t example_count) {
    invitation_ = Receive().run_invitation();
    Accept(invitation_, example_count);
  }

  const v1::RunInvitation& invitation() const { return invitation_; }

  // The bytes of a blob; fails the test when they cannot be had.
  std::string Fetch(const std::string& sha256) {
    std::string bytes;
    EXPECT_THAT(TryFetch(sha256, 0, bytes), IsGrpcOk());
    return bytes;
  }

  grpc::Status TryFetch(const std::string& sha256, uint64_t offset, std::string& bytes) {
    grpc::ClientContext context;
    v1::FetchBlobRequest request;
    request.set_sha256(sha256);
    request.set_offset(offset);
    const auto reader = stub_->FetchBlob(&context, request);
    for (v1::BlobChunk chunk; reader->Read(&chunk);) bytes += chunk.data();
    return reader->Finish();
  }

  // A header that fits the assignment and `bytes`.
  v1::ContributionHeader HeaderFor(const v1::RoundAssignment& work,
                                   const std::string& bytes) const {
    v1::ContributionHeader header;
    header.set_run_id(work.run_id());
    header.set_round(work.round());
    header.set_attempt(work.attempt());
    header.set_adapter_sha256(work.adapter_sha256());
    header.set_layout_sha256(Sha256Of(invitation_.layout_json()).ToBinary());
    header.set_factors(work.evaluate_only() ? 0 : work.factors());
    header.set_size_bytes(bytes.size());
    header.set_sha256(Sha256Of(bytes).ToBinary());
    header.mutable_metrics()->set_training_loss(1.5);
    header.mutable_metrics()->set_steps(1);
    header.mutable_metrics()->set_token_count(10);
    if (work.evaluate()) {
      header.mutable_metrics()->mutable_before()->set_loss(2);
      header.mutable_metrics()->mutable_before()->set_example_count(5);
    }
    return header;
  }

  grpc::Status Submit(const v1::ContributionHeader& header, const std::string& bytes,
                      v1::SubmitContributionResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::SubmitContributionResponse ignored;
    const auto writer =
        stub_->SubmitContribution(&context, response == nullptr ? &ignored : response);
    v1::SubmitContributionRequest part;
    *part.mutable_header() = header;
    bool open = writer->Write(part);
    constexpr size_t kChunk = 1 << 20;
    for (size_t offset = 0; open && offset < bytes.size(); offset += kChunk) {
      part.mutable_chunk()->set_offset(offset);
      part.mutable_chunk()->set_data(bytes.substr(offset, kChunk));
      open = writer->Write(part);
    }
    writer->WritesDone();
    return writer->Finish();
  }

 private:
  std::unique_ptr<v1::Training::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ClientMessage, v1::CoordinatorMessage>> session_;
  v1::RunInvitation invitation_;
};

// A coordinator on a port of this machine, with its federation.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { StartServer(); }

  void StartServer() {
    auto server = Server::Start({.listen = "127.0.0.1:0",
                                 .credentials = credentials_,
                                 .state_directory = directory_.path() / "state",
                                 .signing_roster = signing_roster_},
                                clock_, log_);
    ASSERT_THAT(server, IsOk()) << server.status();
    server_ = *std::move(server);
  }

  std::shared_ptr<grpc::Channel> ConnectAs(Role role, std::string_view name) const {
    return federation_.Connect(server_->port(), federation_.Issue(role, name));
  }

  std::unique_ptr<FakeClient> NewClient(std::string_view name) const {
    return std::make_unique<FakeClient>(ConnectAs(Role::kClient, name));
  }

  // A client whose session stands.
  std::unique_ptr<FakeClient> ConnectClient(std::string_view name) const {
    auto client = NewClient(name);
    client->SayHello();
    EXPECT_TRUE(client->Receive().has_welcome());
    return client;
  }

  std::unique_ptr<v1::Administration::Stub> Administrator() const {
    return v1::Administration::NewStub(ConnectAs(Role::kAdministrator, "grace"));
  }

  static std::string PlanToml(int rounds, int quorum) {
    return TinyPlanToml(
        {.rounds = fmt::format("count = {}\nquorum = {}\ndeadline = \"60s\"", rounds, quorum)});
  }

  v1::StartRunRequest StartRequest(int rounds, int quorum) const {
    v1::StartRunRequest request;
    request.set_request_id("first");
    request.set_plan_toml(PlanToml(rounds, quorum));
    request.set_base_model_json(TinyModelJson());
    return request;
  }

  grpc::Status TryStart(const v1::StartRunRequest& request, v1::RunStatus* run = nullptr) const {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const grpc::Status status = Administrator()->StartRun(&context, request, &response);
    if (run != nullptr) *run = response.run();
    return status;
  }

  v1::RunStatus StartRun(int rounds, int quorum) const {
    v1::RunStatus run;
    EXPECT_THAT(TryStart(StartRequest(rounds, quorum), &run), IsGrpcOk());
    return run;
  }

  v1::StopRunResponse Stop(const std::string& id) const {
    grpc::ClientContext context;
    v1::StopRunRequest request;
    request.set_run_id(id);
    request.set_reason("enough");
    v1::StopRunResponse response;
    EXPECT_THAT(Administrator()->StopRun(&context, request, &response), IsGrpcOk());
    return response;
  }

  v1::GetRunResponse GetRun(const std::string& id) const {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_run_id(id);
    v1::GetRunResponse response;
    EXPECT_THAT(Administrator()->GetRun(&context, request, &response), IsGrpcOk());
    return response;
  }

  // The run's statuses, up to the one that is its end.
  v1::RunStatus WatchToTheEnd(const std::string& id) const {
    grpc::ClientContext context;
    v1::WatchRunRequest request;
    request.set_run_id(id);
    const auto administrator = Administrator();
    const auto reader = administrator->WatchRun(&context, request);
    v1::RunStatus status;
    while (reader->Read(&status)) {
    }
    EXPECT_THAT(reader->Finish(), IsGrpcOk());
    return status;
  }

  // As many values as TinyModelJson()'s adapter of rank 1 has.
  static std::string Delta(float value) {
    const std::vector<float> values(5, value);
    return std::string(ValueBytes(values));
  }

  // Does the next round that the client is asked for.
  void Work(FakeClient& client, float value) {
    v1::CoordinatorMessage message = client.Receive();
    while (message.has_run_ended()) message = client.Receive();
    const v1::RoundAssignment& work = message.round_assignment();
    const std::string bytes = work.evaluate_only() ? "" : Delta(value);
    EXPECT_THAT(client.Submit(client.HeaderFor(work, bytes), bytes), IsGrpcOk());
  }

  const TestFederation federation_;
  const TemporaryDirectory directory_;
  const CredentialFiles credentials_ =
      federation_.WriteCredentials(directory_.path() / "keys", Role::kCoordinator, "hub");
  std::shared_ptr<const SigningRoster> signing_roster_;
  const SystemClock clock_;
  Log log_;
  std::unique_ptr<Server> server_;
};

}  // namespace fedtune::testing
