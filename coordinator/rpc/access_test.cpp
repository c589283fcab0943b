// SPDX-License-Identifier: Apache-2.0

// Who may call what.

#include <fcntl.h>

#include "base/status.h"
#include "coordinator/rpc/caller.h"
#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::HasSubstr;

class AccessTest : public ServerTest {
 protected:
  static grpc::Status ListRuns(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::ListRunsResponse response;
    return v1::Administration::NewStub(channel)->ListRuns(&context, {}, &response);
  }

  // How a session ends that says nothing.
  static grpc::Status OpenSession(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    const auto stub = v1::Training::NewStub(channel);
    const auto session = stub->Session(&context);
    session->WritesDone();
    return session->Finish();
  }
};

TEST_F(AccessTest, EveryCallHasExactlyOneRole) {
  int calls = 0;
  for (const auto* service : {v1::ClientMessage::descriptor()->file()->service(0),
                              v1::StartRunRequest::descriptor()->file()->service(0)}) {
    for (int i = 0; i < service->method_count(); ++i, ++calls) {
      const std::string rpc =
          fmt::format("/{}/{}", service->full_name(), service->method(i)->name());
      const int roles = MayCall(Role::kClient, rpc) + MayCall(Role::kAdministrator, rpc);
      EXPECT_EQ(roles, 1) << rpc;
      EXPECT_FALSE(MayCall(Role::kCoordinator, rpc)) << rpc;
    }
  }
  EXPECT_EQ(calls, 17);
}

TEST_F(AccessTest, RefusesWhatIsNotInTheTable) {
  EXPECT_FALSE(MayCall(Role::kAdministrator, "/fedtune.v1.Administration/DeleteEverything"));
}

TEST_F(AccessTest, LetsAnAdministratorIn) {
  EXPECT_THAT(ListRuns(ConnectAs(Role::kAdministrator, "grace")), IsGrpcOk());
}

TEST_F(AccessTest, UnpacksNoCompressedMessage) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::GetRunRequest request;
  request.set_run_id(std::string(10'000, 'r'));
  v1::GetRunResponse response;
  const auto stub = v1::Administration::NewStub(ConnectAs(Role::kAdministrator, "grace"));
  EXPECT_THAT(stub->GetRun(&context, request, &response),
              HasGrpcCode(grpc::StatusCode::UNIMPLEMENTED));
}

TEST_F(AccessTest, RefusesAClientAmongAdministrators) {
  const grpc::Status status = ListRuns(ConnectAs(Role::kClient, "ada"));
  EXPECT_THAT(status, HasGrpcCode(grpc::StatusCode::PERMISSION_DENIED));
  EXPECT_EQ(status.error_message(),
            "ada has the role client, which may not call /fedtune.v1.Administration/ListRuns");
}

TEST_F(AccessTest, RefusesAnAdministratorAmongClients) {
  EXPECT_THAT(OpenSession(ConnectAs(Role::kAdministrator, "grace")),
              HasGrpcCode(grpc::StatusCode::PERMISSION_DENIED));
}

TEST_F(AccessTest, ACoordinatorsCertificateIsNotForCalling) {
  EXPECT_THAT(OpenSession(ConnectAs(Role::kCoordinator, "hub")),
              HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
}

TEST_F(AccessTest, RefusesWhoHasNoCertificate) {
  EXPECT_THAT(ListRuns(federation_.ConnectWithoutCertificate(server_->port())),
              HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
}

TEST_F(AccessTest, RefusesTheCertificateOfAnotherAuthority) {
  const TestFederation impostor;
  const MemberKeys keys = impostor.Issue(Role::kAdministrator, "grace");
  EXPECT_THAT(ListRuns(federation_.Connect(server_->port(), keys)),
              HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
}

TEST_F(AccessTest, RefusesAnExpiredCertificate) {
  const MemberKeys keys =
      federation_.Issue(Role::kAdministrator, "grace", absl::Now() - absl::Hours(24));
  EXPECT_THAT(ListRuns(federation_.Connect(server_->port(), keys)),
              HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
}

TEST_F(AccessTest, ASessionEndsWithItsCertificate) {
  const absl::Time expires = absl::Now() + absl::Seconds(15);
  const MemberKeys keys = federation_.Issue(Role::kClient, "ada", expires - absl::Hours(1));
  FakeClient ada(federation_.Connect(server_->port(), keys));
  ada.SayHello();
  EXPECT_TRUE(ada.Receive().has_welcome());
  EXPECT_FALSE(ada.Receive().has_welcome()) << "nothing is said until the session ends";
  const grpc::Status end = ada.End();
  EXPECT_THAT(end, HasGrpcCode(grpc::StatusCode::UNAUTHENTICATED));
  EXPECT_THAT(end.error_message(), HasSubstr("has expired"));
  EXPECT_GT(absl::Now(), expires - absl::Seconds(1));
}

TEST_F(AccessTest, SaysThatThePortIsInUse) {
  const auto second = Server::Start({.listen = fmt::format("127.0.0.1:{}", server_->port()),
                                     .credentials = credentials_,
                                     .state_directory = directory_.path() / "second"},
                                    clock_, log_);
  ASSERT_THAT(second, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(second.status()),
            fmt::format("port {} is in use by another process; choose another with --listen",
                        server_->port()));
}

TEST_F(AccessTest, SaysThatAnAddressIsNone) {
  for (const char* address : {"7443", "127.0.0.1:99999", "127.0.0.1:x", "127.0.0.1:"}) {
    EXPECT_THAT(Server::Start({.listen = address,
                               .credentials = credentials_,
                               .state_directory = directory_.path() / "second"},
                              clock_, log_),
                HasCode(absl::StatusCode::kInvalidArgument))
        << address;
  }
}

TEST_F(AccessTest, RefusesToServeWithAClientsCertificate) {
  const MemberKeys keys = federation_.Issue(Role::kClient, "ada");
  const std::filesystem::path key = directory_.path() / "client.key";
  const std::filesystem::path certificate = directory_.path() / "client.pem";
  ASSERT_THAT(WriteFileAtomically(key, keys.key), IsOk());
  std::filesystem::permissions(key, std::filesystem::perms::owner_read);
  ASSERT_THAT(WriteFileAtomically(certificate, keys.certificate), IsOk());
  EXPECT_THAT(Server::Start({.listen = "127.0.0.1:0",
                             .credentials = {.key = key,
                                             .certificate = certificate,
                                             .authority = credentials_.authority},
                             .state_directory = directory_.path() / "second"},
                            clock_, log_),
              HasCode(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace fedtune::testing
