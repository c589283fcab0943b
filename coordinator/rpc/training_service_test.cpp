// SPDX-License-Identifier: Apache-2.0

// Sessions and contributions of clients, over real TLS.

#include "coordinator/rpc/training_service.h"

#include <cmath>
#include <limits>

#include "coordinator/rpc/open_calls.h"
#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A call that says nothing, until it is hung up.
class SilentUpload {
 public:
  explicit SilentUpload(FakeClient& client)
      : writer_(client.stub().SubmitContribution(&context_, &response_)) {}

  ~SilentUpload() {
    context_.TryCancel();
    writer_->Finish();
  }

 private:
  grpc::ClientContext context_;
  v1::SubmitContributionResponse response_;
  const std::unique_ptr<grpc::ClientWriter<v1::SubmitContributionRequest>> writer_;
};

class TrainingServiceTest : public ServerTest {
 protected:
  static constexpr int kCallsOnAConnection = 16;

  // Of one that no round takes, whatever else is wrong.
  static grpc::StatusCode RefusalOfAnUpload(FakeClient& client) {
    grpc::ClientContext context;
    v1::SubmitContributionResponse response;
    const auto writer = client.stub().SubmitContribution(&context, &response);
    v1::SubmitContributionRequest part;
    part.mutable_chunk()->set_data("x");
    writer->Write(part);
    writer->WritesDone();
    return writer->Finish().error_code();
  }

  // Once the calls that were begun or hung up before have reached the coordinator.
  static bool UploadsComeToBeRefusedWith(grpc::StatusCode code, FakeClient& client) {
    for (int i = 0; i < 5'000; ++i) {
      if (RefusalOfAnUpload(client) == code) return true;
    }
    return false;
  }

  // Its connection brings no more than is read, and 64 KiB.
  std::unique_ptr<FakeClient> NewSlowReader(std::string_view name) const {
    const MemberKeys keys = federation_.Issue(Role::kClient, name);
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(kCoordinatorHost);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return std::make_unique<FakeClient>(grpc::CreateCustomChannel(
        fmt::format("127.0.0.1:{}", server_->port()),
        grpc::SslCredentials({.pem_root_certs = federation_.authority_pem(),
                              .pem_private_key = keys.key,
                              .pem_cert_chain = keys.certificate}),
        arguments));
  }
};

TEST_F(TrainingServiceTest, WelcomesAClientByTheNameOfItsCertificate) {
  auto ada = NewClient("ada");
  ada->SayHello();
  const v1::CoordinatorMessage message = ada->Receive();
  EXPECT_EQ(message.welcome().institution(), "ada");
  EXPECT_EQ(message.welcome().federation(), "north");
}

TEST_F(TrainingServiceTest, TellsWhichRunsAreUnderWayBeforeAllElse) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  auto bea = NewClient("bea");
  bea->SayHello();
  const v1::CoordinatorMessage message = bea->Receive();
  EXPECT_THAT(message.welcome().runs_under_way().run_ids(), ElementsAre(id));
  EXPECT_EQ(bea->Receive().run_invitation().run_id(), id);
}

TEST_F(TrainingServiceTest, TellsThatNoRunIsUnderWay) {
  auto ada = NewClient("ada");
  ada->SayHello();
  const v1::CoordinatorMessage message = ada->Receive();
  EXPECT_TRUE(message.welcome().has_runs_under_way());
  EXPECT_THAT(message.welcome().runs_under_way().run_ids(), IsEmpty());
}

TEST_F(TrainingServiceTest, RefusesASessionThatDoesNotBeginWithAHello) {
  auto ada = NewClient("ada");
  grpc::ClientContext context;
  const auto session = ada->stub().Session(&context);
  v1::ClientMessage message;
  message.mutable_progress()->set_run_id("run-0000");
  session->Write(message);
  EXPECT_THAT(session->Finish(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(TrainingServiceTest, RefusesASecondHello) {
  auto ada = ConnectClient("ada");
  v1::ClientMessage hello;
  hello.mutable_hello();
  ada->Send(hello);
  EXPECT_FALSE(ada->Receive().has_welcome());
  EXPECT_THAT(ada->End(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(TrainingServiceTest, RefusesAnEmptyMessage) {
  auto ada = ConnectClient("ada");
  ada->Send({});
  ada->Receive();
  EXPECT_THAT(ada->End(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(TrainingServiceTest, ANewerSessionTakesOver) {
  auto old_session = ConnectClient("ada");
  auto new_session = ConnectClient("ada");
  old_session->Receive();
  const grpc::Status why = old_session->End();
  EXPECT_THAT(why, HasGrpcCode(ABORTED));
  EXPECT_THAT(why.error_message(), HasSubstr("two clients run with its key: stop one of them"));
  StartRun(1, 1);
  EXPECT_TRUE(new_session->Receive().has_run_invitation());
}

// It would keep what it is to be told for as long as its connection lasts.
TEST_F(TrainingServiceTest, ANewerSessionEndsOneThatIsNotReadAtOnce) {
  auto old_session = NewSlowReader("ada");
  old_session->SayHello();
  ASSERT_TRUE(old_session->Receive().has_welcome());
  v1::StartRunRequest request = StartRequest(1, 1);
  *request.mutable_plan_toml() += "# " + std::string(3 << 20, 'x') + "\n";
  ASSERT_THAT(TryStart(request), IsGrpcOk());
  auto new_session = ConnectClient("ada");
  // It is invited when the older session has ended, of which nothing may be read before.
  EXPECT_TRUE(new_session->Receive().has_run_invitation());
  EXPECT_FALSE(old_session->Receive().has_run_invitation());
  EXPECT_THAT(old_session->End(), HasGrpcCode(CANCELLED));
}

TEST_F(TrainingServiceTest, RefusesSessionsThatAreBegunTooOften) {
  const auto ada = NewClient("ada");
  grpc::Status last;
  for (int i = 0; i < 200; ++i) {
    ada->SayHello();
    if (ada->Receive().has_welcome()) {
      ada->HangUp();
    } else {
      last = ada->End();
    }
  }
  EXPECT_THAT(last, HasGrpcCode(RESOURCE_EXHAUSTED));
  EXPECT_TRUE(ConnectClient("bea") != nullptr);
}

// One that is not read, or says nothing, lasts for as long as its client likes.
TEST_F(TrainingServiceTest, RefusesMoreCallsAtATimeThanAClientNeeds) {
  std::vector<std::unique_ptr<FakeClient>> connections;
  std::vector<std::unique_ptr<SilentUpload>> silent;
  for (int i = 0; i < OpenCalls::kMost; ++i) {
    if (i % kCallsOnAConnection == 0) connections.push_back(NewClient("ada"));
    silent.push_back(std::make_unique<SilentUpload>(*connections.back()));
  }
  const auto ada = NewClient("ada");
  EXPECT_TRUE(UploadsComeToBeRefusedWith(RESOURCE_EXHAUSTED, *ada));
  EXPECT_EQ(RefusalOfAnUpload(*NewClient("bea")), INVALID_ARGUMENT);
  silent.clear();
  EXPECT_TRUE(UploadsComeToBeRefusedWith(INVALID_ARGUMENT, *ada));
}

TEST_F(TrainingServiceTest, OneClientsFaultEndsNoOthersSession) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  ada->Send({});
  ada->Receive();
  EXPECT_THAT(ada->End(), HasGrpcCode(INVALID_ARGUMENT));
  StartRun(1, 1);
  EXPECT_TRUE(bea->Receive().has_run_invitation());
}

TEST_F(TrainingServiceTest, RepeatsWhatIsAskedAfterAReconnect) {
  auto ada = ConnectClient("ada");
  StartRun(1, 1);
  ada->Join(10);
  const v1::CoordinatorMessage work = ada->Receive();
  ada->HangUp();
  auto again = ConnectClient("ada");
  EXPECT_TRUE(again->Receive().has_run_invitation());
  EXPECT_EQ(again->Receive().round_assignment().adapter_sha256(),
            work.round_assignment().adapter_sha256());
}

TEST_F(TrainingServiceTest, ShutdownEndsSessions) {
  auto ada = ConnectClient("ada");
  server_->Shutdown();
  ada->Receive();
  EXPECT_THAT(ada->End(), HasGrpcCode(UNAVAILABLE));
}

TEST_F(TrainingServiceTest, SaysThatABlobIsNotThere) {
  std::string bytes;
  EXPECT_THAT(NewClient("ada")->TryFetch(std::string(32, 'x'), 0, bytes), HasGrpcCode(NOT_FOUND));
}

TEST_F(TrainingServiceTest, RefusesADigestThatIsNone) {
  std::string bytes;
  EXPECT_THAT(NewClient("ada")->TryFetch("short", 0, bytes), HasGrpcCode(INVALID_ARGUMENT));
}

// Ada has accepted a run of one round and got her work.
class ContributionTest : public ServerTest {
 protected:
  ContributionTest() {
    bea_ = ConnectClient("bea");
    ada_ = ConnectClient("ada");
    StartRun(1, 1);
    ada_->Join(10);
    bea_->Join(30);
    work_ = ada_->Receive().round_assignment();
  }

  grpc::Status SubmitWith(const v1::ContributionHeader& header) {
    return ada_->Submit(header, Delta(1));
  }

  v1::ContributionHeader Header() const { return ada_->HeaderFor(work_, Delta(1)); }

  std::unique_ptr<FakeClient> ada_;
  std::unique_ptr<FakeClient> bea_;
  v1::RoundAssignment work_;
};

TEST_F(ContributionTest, GivesTheAdapterToStartFrom) {
  const std::string adapter = ada_->Fetch(work_.adapter_sha256());
  EXPECT_EQ(Sha256Of(adapter).ToBinary(), work_.adapter_sha256());
  EXPECT_EQ(adapter.size(), 20U);
}

TEST_F(ContributionTest, GoesOnFetchingFromAnOffset) {
  std::string rest;
  ASSERT_THAT(ada_->TryFetch(work_.adapter_sha256(), 8, rest), IsGrpcOk());
  EXPECT_EQ(rest, ada_->Fetch(work_.adapter_sha256()).substr(8));
}

TEST_F(ContributionTest, RefusesAnOffsetBehindTheEnd) {
  std::string rest;
  EXPECT_THAT(ada_->TryFetch(work_.adapter_sha256(), 21, rest), HasGrpcCode(OUT_OF_RANGE));
}

TEST_F(ContributionTest, CountsAContributionOnce) {
  v1::SubmitContributionResponse response;
  ASSERT_THAT(ada_->Submit(Header(), Delta(1), &response), IsGrpcOk());
  EXPECT_FALSE(response.repeated());
  ASSERT_THAT(ada_->Submit(Header(), Delta(1), &response), IsGrpcOk());
  EXPECT_TRUE(response.repeated());
}

TEST_F(ContributionTest, RefusesAnotherContributionToTheSameRound) {
  ASSERT_THAT(SubmitWith(Header()), IsGrpcOk());
  EXPECT_THAT(ada_->Submit(ada_->HeaderFor(work_, Delta(2)), Delta(2)),
              HasGrpcCode(FAILED_PRECONDITION));
}

TEST_F(ContributionTest, RefusesValuesThatAreNotFinite) {
  const auto submit = [this](FakeClient& client, float value) {
    return client.Submit(client.HeaderFor(work_, Delta(value)), Delta(value));
  };
  const grpc::Status of_ada = submit(*ada_, std::numeric_limits<float>::infinity());
  const grpc::Status of_bea = submit(*bea_, std::nanf(""));
  for (const grpc::Status& status : {of_ada, of_bea}) {
    EXPECT_THAT(status, HasGrpcCode(INVALID_ARGUMENT));
    EXPECT_THAT(status.error_message(), HasSubstr("model.layers.0.self_attn.q_proj"));
  }
}

TEST_F(ContributionTest, TheRoundGoesOnWithoutWhoHandedInABadOne) {
  ASSERT_THAT(ada_->Submit(ada_->HeaderFor(work_, Delta(std::nanf(""))), Delta(std::nanf(""))),
              HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(SubmitWith(Header()), HasGrpcCode(FAILED_PRECONDITION));
  const v1::GetRunResponse run = GetRun(ada_->invitation().run_id());
  EXPECT_THAT(run.run().clients(0).reason(), HasSubstr("its contribution was refused: "));

  // Ada says nothing more, and nobody waits for the deadline.
  ASSERT_THAT(bea_->Submit(bea_->HeaderFor(work_, Delta(1)), Delta(1)), IsGrpcOk());
  EXPECT_EQ(bea_->Receive().round_assignment().round(), 0);
  EXPECT_EQ(bea_->Receive().round_assignment().round(), 1);
}

TEST_F(ContributionTest, AfterAHeaderThatCannotBeReadARightOneMayCome) {
  v1::ContributionHeader header = Header();
  header.set_sha256("short");
  ASSERT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(SubmitWith(Header()), IsGrpcOk());
}

TEST_F(ContributionTest, AfterAWrongSizeTheRightOneMayCome) {
  v1::ContributionHeader header = Header();
  header.set_size_bytes(header.size_bytes() + 4);
  ASSERT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_EQ(GetRun(ada_->invitation().run_id()).run().clients(0).state(), "waiting");
  EXPECT_THAT(SubmitWith(Header()), IsGrpcOk());
}

// Its own client says that it has failed; of another one the deadline is enough.
TEST_F(ContributionTest, AWrongHeaderChangesNothingOfTheRound) {
  v1::ContributionHeader header = Header();
  header.set_layout_sha256(std::string(32, 'x'));
  ASSERT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
  ASSERT_THAT(bea_->Submit(bea_->HeaderFor(work_, Delta(1)), Delta(1)), IsGrpcOk());
  EXPECT_EQ(GetRun(ada_->invitation().run_id()).run().rounds_done(), 0);
  ASSERT_THAT(SubmitWith(Header()), IsGrpcOk());
}

TEST_F(ContributionTest, OneThatWasCutOffMayBeSentAgain) {
  ASSERT_THAT(ada_->Submit(Header(), Delta(1).substr(4)), HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(SubmitWith(Header()), IsGrpcOk());
}

TEST_F(ContributionTest, RefusesAWrongSizeBeforeAnyByte) {
  v1::ContributionHeader header = Header();
  header.set_size_bytes(uint64_t{1} << 60);
  EXPECT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesFewerBytesThanPromised) {
  EXPECT_THAT(ada_->Submit(Header(), Delta(1).substr(4)), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesMoreBytesThanPromised) {
  EXPECT_THAT(ada_->Submit(Header(), Delta(1) + "x"), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesAnotherDigest) {
  EXPECT_THAT(ada_->Submit(Header(), Delta(2)), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesADigestThatIsNone) {
  v1::ContributionHeader header = Header();
  header.set_sha256("short");
  EXPECT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesAnotherLayout) {
  v1::ContributionHeader header = Header();
  header.set_layout_sha256(std::string(32, 'x'));
  EXPECT_THAT(SubmitWith(header), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesARoundThatIsNotOpen) {
  v1::ContributionHeader header = Header();
  header.set_round(7);
  EXPECT_THAT(SubmitWith(header), HasGrpcCode(FAILED_PRECONDITION));
}

TEST_F(ContributionTest, RefusesARunThatIsNotThere) {
  v1::ContributionHeader header = Header();
  header.set_run_id("run-none");
  EXPECT_THAT(SubmitWith(header), HasGrpcCode(FAILED_PRECONDITION));
}

TEST_F(ContributionTest, RefusesWhoIsNotInTheCohort) {
  EXPECT_THAT(NewClient("coy")->Submit(Header(), Delta(1)), HasGrpcCode(PERMISSION_DENIED));
}

TEST_F(ContributionTest, RefusesChunksWithoutAHeader) {
  grpc::ClientContext context;
  v1::SubmitContributionResponse response;
  const auto writer = ada_->stub().SubmitContribution(&context, &response);
  v1::SubmitContributionRequest part;
  part.mutable_chunk()->set_data("x");
  writer->Write(part);
  writer->WritesDone();
  EXPECT_THAT(writer->Finish(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesACallThatSaysNothing) {
  grpc::ClientContext context;
  v1::SubmitContributionResponse response;
  const auto writer = ada_->stub().SubmitContribution(&context, &response);
  writer->WritesDone();
  EXPECT_THAT(writer->Finish(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(ContributionTest, RefusesASecondHeader) {
  grpc::ClientContext context;
  v1::SubmitContributionResponse response;
  const auto writer = ada_->stub().SubmitContribution(&context, &response);
  v1::SubmitContributionRequest part;
  *part.mutable_header() = Header();
  writer->Write(part);
  writer->Write(part);
  writer->WritesDone();
  EXPECT_THAT(writer->Finish(), HasGrpcCode(INVALID_ARGUMENT));
}

}  // namespace
}  // namespace fedtune::testing
