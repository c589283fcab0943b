// SPDX-License-Identifier: Apache-2.0

// Runs that administrators pause, stop and try again, and those that a restart finds,
// with fake clients over real TLS.

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::HasSubstr;

class RunCourseTest : public ServerTest {
 protected:
  grpc::Status TryPause(const std::string& id, v1::RunStatus* run = nullptr) const {
    grpc::ClientContext context;
    v1::PauseRunRequest request;
    request.set_run_id(id);
    request.set_reason("the site moves");
    v1::PauseRunResponse response;
    const grpc::Status status = Administrator()->PauseRun(&context, request, &response);
    if (run != nullptr) *run = response.run();
    return status;
  }

  grpc::Status TryResume(const std::string& id, v1::RunStatus* run = nullptr) const {
    grpc::ClientContext context;
    v1::ResumeRunRequest request;
    request.set_run_id(id);
    v1::ResumeRunResponse response;
    const grpc::Status status = Administrator()->ResumeRun(&context, request, &response);
    if (run != nullptr) *run = response.run();
    return status;
  }

  void WatchUntilPaused(const std::string& id) const {
    grpc::ClientContext context;
    v1::WatchRunRequest request;
    request.set_run_id(id);
    const auto administrator = Administrator();
    const auto reader = administrator->WatchRun(&context, request);
    v1::RunStatus status;
    while (reader->Read(&status) && status.state() != v1::RunStatus::STATE_PAUSED) {
    }
    context.TryCancel();
    EXPECT_THAT(reader->Finish(), HasGrpcCode(CANCELLED));
    EXPECT_EQ(status.state(), v1::RunStatus::STATE_PAUSED);
  }

  // An end may still be on its way into the store.
  grpc::Status TryRetry(const std::string& id, v1::RunStatus* run = nullptr) const {
    v1::RetryRunRequest request;
    request.set_run_id(id);
    v1::RetryRunResponse response;
    grpc::Status status(UNAVAILABLE, "");
    while (status.error_code() == UNAVAILABLE) {
      grpc::ClientContext context;
      status = Administrator()->RetryRun(&context, request, &response);
    }
    if (run != nullptr) *run = response.run();
    return status;
  }

  bool IsConnected(const std::string& institution) const {
    grpc::ClientContext context;
    v1::GetClientRequest request;
    request.set_institution(institution);
    v1::ClientStatus client;
    EXPECT_THAT(Administrator()->GetClient(&context, request, &client), IsGrpcOk());
    return client.connected();
  }
};

TEST_F(RunCourseTest, StoppingTellsTheClients) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  ada->Receive();
  const v1::StopRunResponse stopped = Stop(id);
  EXPECT_EQ(stopped.run().state(), v1::RunStatus::STATE_STOPPED);
  EXPECT_EQ(stopped.run().reason(), "enough");
  EXPECT_EQ(ada->Receive().run_ended().state(), "stopped");
  EXPECT_EQ(Stop(id).run().state(), v1::RunStatus::STATE_STOPPED);
}

TEST_F(RunCourseTest, APausedRunFinishesItsRoundAndStaysPausedOverARestart) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(2, 1).run_id();
  ada->Join(10);
  const v1::RoundAssignment work = ada->Receive().round_assignment();
  v1::RunStatus run;
  ASSERT_THAT(TryPause(id, &run), IsGrpcOk());
  EXPECT_EQ(run.state(), v1::RunStatus::STATE_RUNNING);
  EXPECT_TRUE(run.pausing());
  const v1::RunPaused told = ada->Receive().run_paused();
  EXPECT_TRUE(told.paused());
  EXPECT_EQ(told.reason(), "the site moves");
  ASSERT_THAT(ada->Submit(ada->HeaderFor(work, Delta(1)), Delta(1)), IsGrpcOk());
  WatchUntilPaused(id);
  server_.reset();
  StartServer();
  auto again = ConnectClient("ada");
  again->Join(10);
  EXPECT_TRUE(again->Receive().run_paused().paused());
  EXPECT_EQ(GetRun(id).run().state(), v1::RunStatus::STATE_PAUSED);
  EXPECT_EQ(GetRun(id).run().reason(), "the site moves");
  EXPECT_THAT(TryPause(id), IsGrpcOk()) << "once more does nothing";
  ASSERT_THAT(TryResume(id, &run), IsGrpcOk());
  EXPECT_EQ(run.state(), v1::RunStatus::STATE_RUNNING);
  EXPECT_FALSE(again->Receive().run_paused().paused());
  EXPECT_EQ(again->Receive().round_assignment().round(), 1);
  EXPECT_THAT(TryResume(id), IsGrpcOk()) << "once more does nothing";
}

TEST_F(RunCourseTest, DoesNotPauseOrResumeWhatHasEndedOrIsNotThere) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  Stop(id);
  const grpc::Status paused = TryPause(id);
  EXPECT_THAT(paused, HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(paused.error_message(), HasSubstr("fedtune run retry"));
  EXPECT_THAT(TryResume(id), HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(TryPause("run-none"), HasGrpcCode(NOT_FOUND));
  EXPECT_THAT(TryRetry("run-none"), HasGrpcCode(NOT_FOUND));
}

TEST_F(RunCourseTest, DoesNotPauseWithoutARoundToHoldBack) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  ASSERT_TRUE(ada->Receive().round_assignment().evaluate_only());
  EXPECT_THAT(TryPause(id), HasGrpcCode(FAILED_PRECONDITION));
}

TEST_F(RunCourseTest, GoesOnWithAStoppedRunFromItsLastRelease) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(2, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  const v1::RoundAssignment open = ada->Receive().round_assignment();
  Stop(id);
  ASSERT_TRUE(ada->Receive().has_run_ended());
  v1::RunStatus run;
  ASSERT_THAT(TryRetry(id, &run), IsGrpcOk());
  EXPECT_EQ(run.state(), v1::RunStatus::STATE_RUNNING);
  EXPECT_EQ(run.rounds_done(), 1);
  EXPECT_EQ(run.reason(), "");
  EXPECT_EQ(run.ended_unix_ms(), 0);
  EXPECT_TRUE(ada->Receive().has_run_invitation());
  const v1::RoundAssignment again = ada->Receive().round_assignment();
  EXPECT_EQ(again.round(), 1);
  EXPECT_EQ(again.attempt(), open.attempt() + 1);
  EXPECT_EQ(again.adapter_sha256(), open.adapter_sha256());
  EXPECT_THAT(TryRetry(id), IsGrpcOk()) << "of a run that is under way it does nothing";
  ASSERT_THAT(ada->Submit(ada->HeaderFor(again, Delta(1)), Delta(1)), IsGrpcOk());
  Work(*ada, 0);
  EXPECT_EQ(WatchToTheEnd(id).state(), v1::RunStatus::STATE_FINISHED);
  const grpc::Status finished = TryRetry(id);
  EXPECT_THAT(finished, HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(finished.error_message(), HasSubstr("has finished"));
}

TEST_F(RunCourseTest, DoesNotTryARunAgainWithoutItsQuorum) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  const std::string id = StartRun(1, 2).run_id();
  Stop(id);
  bea.reset();
  while (IsConnected("bea")) {
  }
  const grpc::Status status = TryRetry(id);
  EXPECT_THAT(status, HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(status.error_message(), HasSubstr("quorum is 2"));
  EXPECT_EQ(GetRun(id).run().state(), v1::RunStatus::STATE_STOPPED);
}

TEST_F(RunCourseTest, ARunGoesOnAfterARestart) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(2, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  const v1::RoundAssignment before = ada->Receive().round_assignment();
  server_.reset();
  StartServer();
  auto again = ConnectClient("ada");
  again->Join(10);
  v1::RoundAssignment after = again->Receive().round_assignment();
  EXPECT_EQ(after.round(), 1);
  EXPECT_EQ(after.attempt(), before.attempt());
  EXPECT_EQ(after.adapter_sha256(), before.adapter_sha256());
  ASSERT_THAT(again->Submit(again->HeaderFor(after, Delta(1)), Delta(1)), IsGrpcOk());
  Work(*again, 0);
  EXPECT_EQ(WatchToTheEnd(id).state(), v1::RunStatus::STATE_FINISHED);
}

TEST_F(RunCourseTest, AnEndedRunIsKnownAfterARestart) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  Work(*ada, 1);
  const v1::RunStatus end = WatchToTheEnd(id);
  server_.reset();
  StartServer();
  const v1::RunStatus later = GetRun(id).run();
  EXPECT_EQ(later.state(), v1::RunStatus::STATE_FINISHED);
  EXPECT_EQ(later.last_round().SerializeAsString(), end.last_round().SerializeAsString());
  EXPECT_EQ(later.first_evaluation().SerializeAsString(),
            end.first_evaluation().SerializeAsString());
  EXPECT_EQ(later.last_evaluation().SerializeAsString(), end.last_evaluation().SerializeAsString());
  EXPECT_EQ(later.clients(0).SerializeAsString(), end.clients(0).SerializeAsString());
}

}  // namespace
}  // namespace fedtune::testing
