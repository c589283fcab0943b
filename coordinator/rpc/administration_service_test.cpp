// SPDX-License-Identifier: Apache-2.0

// Whole runs with fake clients, as administrators see them, over real TLS.

#include "coordinator/rpc/administration_service.h"

#include <cmath>

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::HasSubstr;

class AdministrationServiceTest : public ServerTest {
 protected:
  // Does the next round that the client is asked for.
  void Work(FakeClient& client, float value) {
    v1::CoordinatorMessage message = client.Receive();
    while (message.has_run_ended()) message = client.Receive();
    const v1::RoundAssignment& work = message.round_assignment();
    const std::string bytes = work.evaluate_only() ? "" : Delta(value);
    EXPECT_THAT(client.Submit(client.HeaderFor(work, bytes), bytes), IsGrpcOk());
  }

  grpc::Status TryStart(const v1::StartRunRequest& request, v1::RunStatus* run = nullptr) const {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const grpc::Status status = Administrator()->StartRun(&context, request, &response);
    if (run != nullptr) *run = response.run();
    return status;
  }

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

  bool IsConnected(const std::string& institution) const {
    grpc::ClientContext context;
    v1::GetClientRequest request;
    request.set_institution(institution);
    v1::ClientStatus client;
    EXPECT_THAT(Administrator()->GetClient(&context, request, &client), IsGrpcOk());
    return client.connected();
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

  v1::StopRunResponse Stop(const std::string& id) const {
    grpc::ClientContext context;
    v1::StopRunRequest request;
    request.set_run_id(id);
    request.set_reason("enough");
    v1::StopRunResponse response;
    EXPECT_THAT(Administrator()->StopRun(&context, request, &response), IsGrpcOk());
    return response;
  }
};

TEST_F(AdministrationServiceTest, RunsTwoRoundsWithTwoClientsToTheEnd) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  const std::string id = StartRun(2, 2).run_id();
  ada->Join(10);
  bea->Join(30);
  for (int call = 0; call < 3; ++call) {
    Work(*ada, 1);
    Work(*bea, 3);
  }
  EXPECT_EQ(ada->Receive().run_ended().state(), "finished");
  const v1::RunStatus end = WatchToTheEnd(id);
  EXPECT_EQ(end.state(), v1::RunStatus::STATE_FINISHED);
  EXPECT_EQ(end.rounds_done(), 2);
  ASSERT_EQ(end.clients_size(), 2);
  EXPECT_EQ(end.clients(0).rounds_contributed(), 2);
  EXPECT_EQ(end.last_round().contributions(), 2);
  EXPECT_EQ(end.last_evaluation().round(), 2);
}

TEST_F(AdministrationServiceTest, AddsTheWeightedMeanToTheAdapter) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  const std::string id = StartRun(2, 2).run_id();
  ada->Join(10);
  bea->Join(30);
  const v1::RoundAssignment first = ada->Receive().round_assignment();
  ASSERT_THAT(ada->Submit(ada->HeaderFor(first, Delta(1)), Delta(1)), IsGrpcOk());
  Work(*bea, 3);
  const v1::RoundAssignment second = ada->Receive().round_assignment();
  const auto before = *ValuesFromBytes(ada->Fetch(first.adapter_sha256()), 5, "adapter");
  const auto after = *ValuesFromBytes(ada->Fetch(second.adapter_sha256()), 5, "adapter");
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_FLOAT_EQ(after[i], before[i] + (10 * 1 + 30 * 3) / 40.0F);
  }
}

TEST_F(AdministrationServiceTest, GivesPlanLayoutAndRoundsOfARun) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(2, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  const std::string newest = ada->Receive().round_assignment().adapter_sha256();
  const v1::GetRunResponse run = GetRun(id);
  EXPECT_EQ(run.plan_toml(), PlanToml(2, 1));
  EXPECT_EQ(run.layout_json(), ada->invitation().layout_json());
  ASSERT_EQ(run.rounds_size(), 1);
  EXPECT_EQ(run.rounds(0).adapter_sha256(), newest);
  EXPECT_EQ(run.run().adapter_sha256(), newest);
  EXPECT_EQ(run.run().bytes_received(), 20U);
  EXPECT_EQ(run.run().started_by(), "grace");
}

TEST_F(AdministrationServiceTest, SumsWhereTheTokensOfAPlainRoundWent) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  model.experts_per_token = 1;
  model.routed_expert_count = 4;
  model.linear_layers.push_back({"model.layers.0.mlp.gate", LayerKind::kRouter, 3, 4});
  v1::StartRunRequest request = StartRequest(1, 2);
  request.set_base_model_json(ToJson(model));
  v1::RunStatus run;
  ASSERT_THAT(TryStart(request, &run), IsGrpcOk());
  ada->Join(10);
  bea->Join(30);
  const auto submit = [](FakeClient& client, const std::vector<int64_t>& tokens) {
    v1::ContributionHeader header = client.HeaderFor(client.Receive().round_assignment(), Delta(1));
    header.mutable_metrics()->mutable_routed_tokens()->Add(tokens.begin(), tokens.end());
    return client.Submit(header, Delta(1));
  };
  ASSERT_THAT(submit(*ada, {1, 0, 3, 4}), IsGrpcOk());
  ASSERT_THAT(submit(*bea, {0, 0, 6, 2}), IsGrpcOk());
  ASSERT_TRUE(ada->Receive().has_round_assignment());
  const v1::GetRunResponse got = GetRun(run.run_id());
  ASSERT_EQ(got.rounds_size(), 1);
  ASSERT_EQ(got.rounds(0).routing_size(), 1);
  const v1::LayerRouting& layer = got.rounds(0).routing(0);
  EXPECT_THAT(layer.expert_tokens(), ::testing::ElementsAre(1, 0, 9, 6));
  EXPECT_EQ(layer.routed_tokens(), 16);
  EXPECT_EQ(layer.idle_share(), 0.25);
  EXPECT_NEAR(layer.load_variation(), std::sqrt(13.5) / 4, 1e-12);
  ASSERT_EQ(got.run().last_round().routing_size(), 1);
  EXPECT_TRUE(got.run().last_round().routing(0).expert_tokens().empty());
}

TEST_F(AdministrationServiceTest, RefusesABaseModelWhoseRoutersContradictIt) {
  auto ada = ConnectClient("ada");
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  model.linear_layers.push_back({"model.layers.0.mlp.gate", LayerKind::kRouter, 3, 4});
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_base_model_json(ToJson(model));
  const grpc::Status status = TryStart(request);
  EXPECT_THAT(status, HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(status.error_message(), HasSubstr("has 4 outputs, and the model 0 routed experts"));
}

TEST_F(AdministrationServiceTest, TakesABaseModelWithAsManyLayersAsTheLargestHave) {
  const auto ada = ConnectClient("ada");
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  for (int layer = 1; layer <= 60; ++layer) {  // Of Kimi K2; DeepSeek-V3 has 58 of 256.
    for (int expert = 0; expert < 384; ++expert) {
      for (const std::string_view leaf : {"gate_proj", "up_proj", "down_proj"}) {
        model.linear_layers.push_back(
            {.name = fmt::format("model.layers.{}.mlp.experts.{}.{}", layer, expert, leaf),
             .kind = LayerKind::kRoutedExpert,
             .in_features = 7168,
             .out_features = 2048});
      }
    }
  }
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_base_model_json(ToJson(model));
  EXPECT_GT(request.base_model_json().size(), size_t{7} << 20);
  EXPECT_THAT(TryStart(request), IsGrpcOk());
}

TEST_F(AdministrationServiceTest, OneRequestStartsOneRun) {
  auto ada = ConnectClient("ada");
  v1::RunStatus first;
  v1::RunStatus second;
  ASSERT_THAT(TryStart(StartRequest(1, 1), &first), IsGrpcOk());
  ASSERT_THAT(TryStart(StartRequest(1, 1), &second), IsGrpcOk());
  EXPECT_EQ(first.run_id(), second.run_id());
}

TEST_F(AdministrationServiceTest, RefusesARunWithoutItsQuorum) {
  auto ada = ConnectClient("ada");
  const grpc::Status status = TryStart(StartRequest(1, 2));
  EXPECT_THAT(status, HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(status.error_message(), HasSubstr("quorum is 2"));
}

TEST_F(AdministrationServiceTest, RefusesAnAdapterThatIsLargerThanItsMemory) {
  ConnectClient("ada");
  v1::StartRunRequest request = StartRequest(1, 1);
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  model.linear_layers[0].in_features = int64_t{1} << 30;
  model.linear_layers[0].out_features = int64_t{1} << 30;
  request.set_base_model_json(ToJson(model));
  std::string plan = request.plan_toml();
  plan.replace(plan.find("rank = 1\n"), 8, "rank = 128");
  request.set_plan_toml(plan);
  grpc::ClientContext context;
  v1::StartRunResponse response;
  const grpc::Status status = Administrator()->StartRun(&context, request, &response);
  EXPECT_THAT(status, HasGrpcCode(RESOURCE_EXHAUSTED));
  EXPECT_THAT(status.error_message(), HasSubstr("the adapter has 1.1 TB, and the coordinator may"));
}

TEST_F(AdministrationServiceTest, RefusesSequencesThatTheModelDoesNotTake) {
  v1::StartRunRequest request = StartRequest(1, 1);
  BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
  model.context_length = 16;
  request.set_base_model_json(ToJson(model));
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, RefusesAPlanThatIsWrong) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_plan_toml("nonsense = 1");
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, RefusesASecurePlanWithoutASigningRoster) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_plan_toml(
      "name = 'p'\nbase_model = 'm'\n[adapter]\ntargets = ['q_proj']\nrank = 1\n[training]\nsteps "
      "= 1\n"
      "[rounds]\ncount = 1\n[aggregation]\nmode = 'secure'\n");
  const grpc::Status status = TryStart(request);
  EXPECT_THAT(status, HasGrpcCode(grpc::StatusCode::FAILED_PRECONDITION));
  EXPECT_THAT(status.error_message(), HasSubstr("signing roster"));
}

TEST_F(AdministrationServiceTest, RefusesAModelThatIsNoJson) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_base_model_json("{");
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, RefusesAModelThatIsNotInTheCatalogue) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.clear_base_model_json();
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, RefusesAnotherDigestThanThePlans) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_plan_toml(
      fmt::format("base_digest = \"{}\"\n{}", Sha256Of("other").ToString(), PlanToml(1, 1)));
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, RefusesARequestWithoutAnId) {
  v1::StartRunRequest request = StartRequest(1, 1);
  request.clear_request_id();
  EXPECT_THAT(TryStart(request), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, TakesAModelFromTheCatalogueTheSecondTime) {
  auto ada = ConnectClient("ada");
  Stop(StartRun(1, 1).run_id());
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_request_id("second");
  request.clear_base_model_json();
  EXPECT_THAT(TryStart(request), IsGrpcOk());
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  ASSERT_THAT(Administrator()->ListModels(&context, {}, &models), IsGrpcOk());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "tiny");
}

TEST_F(AdministrationServiceTest, StoppingTellsTheClients) {
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

TEST_F(AdministrationServiceTest, APausedRunFinishesItsRoundAndStaysPausedOverARestart) {
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

TEST_F(AdministrationServiceTest, DoesNotPauseOrResumeWhatHasEndedOrIsNotThere) {
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

TEST_F(AdministrationServiceTest, DoesNotPauseWithoutARoundToHoldBack) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  Work(*ada, 1);
  ASSERT_TRUE(ada->Receive().round_assignment().evaluate_only());
  EXPECT_THAT(TryPause(id), HasGrpcCode(FAILED_PRECONDITION));
}

TEST_F(AdministrationServiceTest, GoesOnWithAStoppedRunFromItsLastRelease) {
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

TEST_F(AdministrationServiceTest, DoesNotTryARunAgainWithoutItsQuorum) {
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

TEST_F(AdministrationServiceTest, KnowsARunByItsPrefix) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  EXPECT_EQ(GetRun(id.substr(0, id.size() - 1)).run().run_id(), id);
}

TEST_F(AdministrationServiceTest, SaysThatThereIsNoSuchRun) {
  grpc::ClientContext context;
  v1::GetRunRequest request;
  request.set_run_id("run-none");
  v1::GetRunResponse response;
  EXPECT_THAT(Administrator()->GetRun(&context, request, &response), HasGrpcCode(NOT_FOUND));
}

TEST_F(AdministrationServiceTest, AnswersALongIdWithAMessageThatArrives) {
  grpc::ClientContext context;
  v1::GetRunRequest request;
  request.set_run_id(std::string(100'000, 'x'));
  v1::GetRunResponse response;
  EXPECT_THAT(Administrator()->GetRun(&context, request, &response), HasGrpcCode(NOT_FOUND));
}

TEST_F(AdministrationServiceTest, RefusesAPrefixOfSeveralRuns) {
  auto ada = ConnectClient("ada");
  StartRun(1, 1);
  v1::StartRunRequest second = StartRequest(1, 1);
  second.set_request_id("second");
  ASSERT_THAT(TryStart(second), IsGrpcOk());
  grpc::ClientContext context;
  v1::GetRunRequest request;
  request.set_run_id("run-");
  v1::GetRunResponse response;
  EXPECT_THAT(Administrator()->GetRun(&context, request, &response), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(AdministrationServiceTest, ListsClientsWithTheirRuns) {
  auto ada = ConnectClient("ada");
  const std::string id = StartRun(1, 1).run_id();
  ada->Join(10);
  ada->Receive();
  grpc::ClientContext context;
  v1::ListClientsResponse clients;
  ASSERT_THAT(Administrator()->ListClients(&context, {}, &clients), IsGrpcOk());
  ASSERT_EQ(clients.clients_size(), 1);
  EXPECT_EQ(clients.clients(0).institution(), "ada");
  EXPECT_TRUE(clients.clients(0).connected());
  EXPECT_GT(clients.clients(0).certificate_expires_unix_ms(), absl::ToUnixMillis(absl::Now()));
  ASSERT_EQ(clients.clients(0).run_ids_size(), 1);
  EXPECT_EQ(clients.clients(0).run_ids(0), id);
}

TEST_F(AdministrationServiceTest, SaysThatAClientWasNeverSeen) {
  grpc::ClientContext context;
  v1::GetClientRequest request;
  request.set_institution("coy");
  v1::ClientStatus client;
  EXPECT_THAT(Administrator()->GetClient(&context, request, &client), HasGrpcCode(NOT_FOUND));
}

TEST_F(AdministrationServiceTest, SeveralRunsGoOnAtOnce) {
  auto ada = ConnectClient("ada");
  const std::string first = StartRun(1, 1).run_id();
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_request_id("second");
  v1::RunStatus second;
  ASSERT_THAT(TryStart(request, &second), IsGrpcOk());
  ada->Join(10);
  ada->Join(10);
  for (int call = 0; call < 4; ++call) Work(*ada, 1);
  EXPECT_EQ(WatchToTheEnd(first).state(), v1::RunStatus::STATE_FINISHED);
  EXPECT_EQ(WatchToTheEnd(second.run_id()).state(), v1::RunStatus::STATE_FINISHED);
}

TEST_F(AdministrationServiceTest, ARunGoesOnAfterARestart) {
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

TEST_F(AdministrationServiceTest, AnEndedRunIsKnownAfterARestart) {
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
