// SPDX-License-Identifier: Apache-2.0

// Whole runs with fake clients, and what administrators are told of them, over real TLS.

#include "coordinator/rpc/administration_service.h"

#include <cmath>

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;

using AdministrationServiceTest = ServerTest;

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

}  // namespace
}  // namespace fedtune::testing
