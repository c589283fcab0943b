// SPDX-License-Identifier: Apache-2.0

// A certificate is revoked while its owner, or a thief, is connected.

#include <condition_variable>
#include <mutex>

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::HasSubstr;

// A coordinator that looks at its list all the time.
class RevocationTest : public ServerTest {
 protected:
  RevocationTest() {
    Revoke({});
    EXPECT_THAT(StartWithList(), IsOk());
  }

  ~RevocationTest() override { server_.reset(); }  // It uses the log below.

  absl::Status StartWithList() {
    server_.reset();
    auto server = Server::Start({.listen = "127.0.0.1:0",
                                 .credentials = credentials_,
                                 .state_directory = directory_.path() / "state",
                                 .revocation_list = list_file_,
                                 .revocation_interval = absl::Milliseconds(500)},
                                clock_, kept_log_);
    if (server.ok()) server_ = *std::move(server);
    return server.status();
  }

  // These are revoked from now on, and all that were before.
  void Revoke(const std::vector<MemberKeys>& members) {
    for (const MemberKeys& keys : members) {
      content_.revoked.push_back({ParseCertificate(keys.certificate)->serial, absl::Now()});
    }
    ++content_.number;
    content_.signed_at = absl::Now();
    ASSERT_THAT(WriteFileAtomically(list_file_, federation_.SignRevocations(content_)), IsOk());
  }

  // Waits until the log has said so.
  void AwaitLog(std::string_view what) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return said_.find(what) != said_.npos; });
  }

  static grpc::Status ListRuns(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::ListRunsResponse response;
    return v1::Administration::NewStub(channel)->ListRuns(&context, {}, &response);
  }

  std::unique_ptr<FakeClient> Connect(const MemberKeys& keys) const {
    auto client = std::make_unique<FakeClient>(federation_.Connect(server_->port(), keys));
    client->SayHello();
    EXPECT_TRUE(client->Receive().has_welcome());
    return client;
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::string said_;  // Guarded by mutex_.
  Log kept_log_{[this](std::string_view line) {
    const std::lock_guard lock(mutex_);
    said_ += fmt::format("{}\n", line);
    more_.notify_all();
  }};
  RevocationContent content_;
  const std::filesystem::path list_file_ = directory_.path() / "revoked.crl";
  const MemberKeys ada_ = federation_.Issue(Role::kClient, "ada");
  const MemberKeys grace_ = federation_.Issue(Role::kAdministrator, "grace");
};

TEST_F(RevocationTest, EveryCallIsRefusedOnAConnectionThatStands) {
  const auto channel = federation_.Connect(server_->port(), grace_);
  ASSERT_THAT(ListRuns(channel), IsGrpcOk());
  Revoke({grace_});
  grpc::Status status;
  while (status.ok()) status = ListRuns(channel);
  EXPECT_THAT(status, HasGrpcCode(UNAUTHENTICATED));
  EXPECT_THAT(status.error_message(),
              HasSubstr("the certificate of administrator grace of federation north (serial"));
  EXPECT_THAT(status.error_message(), HasSubstr("was revoked on"));
  EXPECT_THAT(ListRuns(ConnectAs(Role::kAdministrator, "grace")), IsGrpcOk())
      << "with another certificate";
  AwaitLog("a revoked certificate is shown whose=\"administrator grace of federation north\"");
}

TEST_F(RevocationTest, ASessionEndsWithItsCertificateAndNoOther) {
  const auto ada = Connect(ada_);
  const auto bea = ConnectClient("bea");
  Revoke({ada_});
  EXPECT_FALSE(ada->Receive().has_welcome()) << "nothing is said until the session ends";
  const grpc::Status end = ada->End();
  EXPECT_THAT(end, HasGrpcCode(UNAUTHENTICATED));
  EXPECT_THAT(end.error_message(), HasSubstr("was revoked on"));
  AwaitLog("calls of a revoked certificate end whose=\"client ada of federation north\" calls=1");
  const std::string run = StartRun(1, 1).run_id();
  EXPECT_EQ(bea->Receive().run_invitation().run_id(), run);
}

TEST_F(RevocationTest, ARunGoesOnWithoutARevokedClient) {
  const auto ada = Connect(ada_);
  const auto bea = ConnectClient("bea");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  bea->Join(10);
  EXPECT_TRUE(ada->Receive().has_round_assignment());
  EXPECT_TRUE(bea->Receive().has_round_assignment());
  Revoke({ada_});
  EXPECT_FALSE(ada->Receive().has_run_ended());
  EXPECT_THAT(ada->End(), HasGrpcCode(UNAUTHENTICATED));
  v1::RunStatus run = GetRun(id).run();
  while (run.clients(0).state() != "offline") run = GetRun(id).run();  // It hears of it then.
  EXPECT_EQ(run.state(), v1::RunStatus::STATE_RUNNING);
  EXPECT_NE(run.clients(1).state(), "offline");
}

TEST_F(RevocationTest, AWatchEndsWithItsCertificate) {
  const auto bea = ConnectClient("bea");
  v1::WatchRunRequest request;
  request.set_run_id(StartRun(1, 1).run_id());
  grpc::ClientContext context;
  const auto stub = v1::Administration::NewStub(federation_.Connect(server_->port(), grace_));
  const auto reader = stub->WatchRun(&context, request);
  v1::RunStatus run;
  ASSERT_TRUE(reader->Read(&run));
  Revoke({grace_});
  while (reader->Read(&run)) {
  }
  EXPECT_THAT(reader->Finish(), HasGrpcCode(UNAUTHENTICATED));
}

TEST_F(RevocationTest, AnUploadEndsWithItsCertificate) {
  FakeClient ada(federation_.Connect(server_->port(), ada_));
  grpc::ClientContext context;
  v1::SubmitContributionResponse response;
  const auto writer = ada.stub().SubmitContribution(&context, &response);
  std::string bytes;
  ASSERT_THAT(ada.TryFetch(Digest().ToBinary(), 0, bytes), HasGrpcCode(NOT_FOUND))
      << "the coordinator has both calls";
  Revoke({ada_});
  EXPECT_THAT(writer->Finish(), HasGrpcCode(UNAUTHENTICATED));
}

// Nobody can tell its client so, which would go on whenever it reads again.
TEST_F(RevocationTest, ADownloadThatNobodyReadsEndsToo) {
  constexpr int64_t kSide = 2'000'000;
  const auto ada = Connect(ada_);
  v1::StartRunRequest start = StartRequest(1, 1);
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  model.linear_layers[0].in_features = kSide;
  model.linear_layers[0].out_features = kSide;
  start.set_base_model_json(ToJson(model));
  ASSERT_THAT(TryStart(start), IsGrpcOk());
  ada->Join(10);
  grpc::ClientContext context;
  v1::FetchBlobRequest request;
  request.set_sha256(ada->Receive().round_assignment().adapter_sha256());
  const auto reader = ada->stub().FetchBlob(&context, request);
  v1::BlobChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  Revoke({ada_});
  AwaitLog("calls of a revoked certificate are cut off");
  while (reader->Read(&chunk)) {
  }
  EXPECT_THAT(reader->Finish(), HasGrpcCode(CANCELLED));
}

TEST_F(RevocationTest, DoesNotStartWithAWrongListNorWithItsOwnCertificateOnIt) {
  const TestFederation impostor;
  ASSERT_THAT(WriteFileAtomically(list_file_, impostor.SignRevocations(content_)), IsOk());
  const absl::Status foreign = StartWithList();
  EXPECT_THAT(foreign, HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(std::string(Message(foreign)), HasSubstr("revocation_list: " + list_file_.string()));
  Revoke({{.key = "", .certificate = *ReadFile(credentials_.certificate)}});
  const absl::Status own = StartWithList();
  EXPECT_THAT(own, HasCode(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(std::string(Message(own)), HasSubstr("coordinator hub of federation north"));
}

}  // namespace
}  // namespace fedtune::testing
