// SPDX-License-Identifier: Apache-2.0

// Rounds that do not wait for a slow client, over real TLS.

#include <cmath>

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::HasSubstr;

class StragglersTest : public ServerTest {
 protected:
  // Five rounds that close with two of three clients.
  std::string StartWith(std::string_view keys) {
    v1::StartRunRequest request = StartRequest(5, 2);
    std::string plan = request.plan_toml();
    const std::string before = "deadline = ";
    plan.insert(plan.find(before), std::string(keys));
    request.set_plan_toml(plan);
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const grpc::Status status = Administrator()->StartRun(&context, request, &response);
    EXPECT_THAT(status, IsGrpcOk());
    return response.run().run_id();
  }

  static v1::RoundAssignment NextWork(FakeClient& client) {
    v1::CoordinatorMessage message = client.Receive();
    while (message.has_round_closed()) message = client.Receive();
    return message.round_assignment();
  }

  static v1::RoundAssignment HandInNext(FakeClient& client, float value) {
    const v1::RoundAssignment work = NextWork(client);
    EXPECT_THAT(client.Submit(client.HeaderFor(work, Delta(value)), Delta(value)), IsGrpcOk());
    return work;
  }

  // What the release of `round` added to each value of the adapter before it.
  float Step(FakeClient& client, const v1::RoundAssignment& work, const std::string& next) {
    const auto before = *ValuesFromBytes(client.Fetch(work.adapter_sha256()), 5, "adapter");
    const auto after = *ValuesFromBytes(client.Fetch(next), 5, "adapter");
    return after[0] - before[0];
  }
};

TEST_F(StragglersTest, WhatIsLateCountsInTheNextRoundThoughTheCoordinatorWasRestarted) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  auto cal = ConnectClient("cal");
  const std::string id = StartWith("close_at = 2\nstragglers = 'keep'\n");
  for (FakeClient* client : {ada.get(), bea.get(), cal.get()}) client->Join(100);
  const v1::RoundAssignment slow = NextWork(*cal);
  HandInNext(*ada, 1);
  HandInNext(*bea, 3);
  ASSERT_EQ(NextWork(*ada).round(), 1);
  server_.reset();
  StartServer();
  ada = ConnectClient("ada");
  cal = ConnectClient("cal");
  ada->Join(100);
  cal->Join(100);
  const v1::RoundAssignment again = NextWork(*cal);
  EXPECT_EQ(again.round(), 0) << "it is asked for what it is late with";
  EXPECT_EQ(again.adapter_sha256(), slow.adapter_sha256());
  ASSERT_THAT(cal->Submit(cal->HeaderFor(again, Delta(8)), Delta(8)), IsGrpcOk());
  v1::SubmitContributionResponse response;
  ASSERT_THAT(cal->Submit(cal->HeaderFor(again, Delta(8)), Delta(8), &response), IsGrpcOk());
  EXPECT_TRUE(response.repeated());
  const v1::RoundAssignment second = HandInNext(*ada, 2);
  EXPECT_EQ(second.round(), 1);
  const v1::RoundAssignment third = NextWork(*cal);
  EXPECT_EQ(third.round(), 2);
  const float late = 18102;  // 25600 / sqrt(2)
  EXPECT_NEAR(Step(*ada, second, third.adapter_sha256()), (2 * 25600 + 8 * late) / (25600 + late),
              1e-5);
  const v1::GetRunResponse run = GetRun(id);
  ASSERT_EQ(run.rounds_size(), 2);
  EXPECT_EQ(run.rounds(1).contributions(), 2);
}

TEST_F(StragglersTest, WhatIsLateIsToldToStopWhereItIsNotKept) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  auto cal = ConnectClient("cal");
  StartWith("close_at = 2\n");
  for (FakeClient* client : {ada.get(), bea.get(), cal.get()}) client->Join(100);
  const v1::RoundAssignment slow = NextWork(*cal);
  HandInNext(*ada, 1);
  HandInNext(*bea, 3);
  const v1::RoundClosed closed = cal->Receive().round_closed();
  EXPECT_EQ(closed.round(), 0);
  EXPECT_THAT(closed.reason(), HasSubstr("closed with 2 contributions"));
  EXPECT_EQ(NextWork(*cal).round(), 1);
  EXPECT_THAT(cal->Submit(cal->HeaderFor(slow, Delta(8)), Delta(8)),
              HasGrpcCode(grpc::StatusCode::FAILED_PRECONDITION));
}

}  // namespace
}  // namespace fedtune::testing
