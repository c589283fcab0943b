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
  std::string StartWith(std::string_view keys, const std::string& request_id = "first") {
    v1::StartRunRequest request = StartRequest(5, 2);
    request.set_request_id(request_id);
    std::string plan = request.plan_toml();
    const std::string before = "deadline = ";
    plan.insert(plan.find(before), std::string(keys));
    request.set_plan_toml(plan);
    v1::RunStatus run;
    EXPECT_THAT(TryStart(request, &run), IsGrpcOk());
    return run.run_id();
  }

  // Whatever it was told of another run before.
  static void JoinNext(FakeClient& client) {
    v1::CoordinatorMessage message = client.Receive();
    while (!message.has_run_invitation()) message = client.Receive();
    client.Accept(message.run_invitation(), 100);
  }

  static v1::RoundAssignment NextWork(FakeClient& client) {
    v1::CoordinatorMessage message = client.Receive();
    while (message.has_round_closed() || message.has_run_ended()) message = client.Receive();
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

constexpr std::string_view kAsynchronous = "close_at = 2\nasynchronous = true\n";

TEST_F(StragglersTest, FastClientsOfAnAsynchronousRunDoNotWaitForASlowOne) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  auto cal = ConnectClient("cal");
  const std::string id = StartWith(kAsynchronous);
  for (FakeClient* client : {ada.get(), bea.get(), cal.get()}) client->Join(100);
  const v1::RoundAssignment slow = NextWork(*cal);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(HandInNext(*ada, 1).round(), round);
    EXPECT_EQ(HandInNext(*bea, 3).round(), round);
  }
  const v1::RoundAssignment fourth = NextWork(*ada);
  EXPECT_EQ(fourth.round(), 3) << "three adapters were made without cal";
  // It was told again, with each round, what it has still to do.
  ASSERT_THAT(cal->Submit(cal->HeaderFor(slow, Delta(8)), Delta(8)), IsGrpcOk());
  v1::RoundAssignment next = NextWork(*cal);
  while (next.round() == 0) next = NextWork(*cal);
  EXPECT_EQ(next.round(), 3) << "it has the newest adapter at once";
  EXPECT_EQ(next.adapter_sha256(), fourth.adapter_sha256());
  const grpc::Status early = cal->Submit(cal->HeaderFor(next, Delta(8)), Delta(8));
  EXPECT_THAT(early, HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
  EXPECT_THAT(early.error_message(), HasSubstr("counts in a later round"));
  ASSERT_THAT(ada->Submit(ada->HeaderFor(fourth, Delta(2)), Delta(2)), IsGrpcOk());
  const v1::RoundAssignment fifth = NextWork(*ada);
  EXPECT_NEAR(Step(*ada, fourth, fifth.adapter_sha256()),
              (2 * 25600 + 8 * 12800.0) / (25600 + 12800.0), 1e-5)
      << "what is three rounds late counts half";
  ASSERT_THAT(cal->Submit(cal->HeaderFor(next, Delta(8)), Delta(8)), IsGrpcOk());
  EXPECT_EQ(GetRun(id).run().last_round().contributions(), 2);
}

// Whoever was in the buffer: the order in which they came makes no difference.
TEST_F(StragglersTest, TheOrderOfArrivalsDoesNotMatter) {
  auto ada = ConnectClient("ada");
  auto bea = ConnectClient("bea");
  auto cal = ConnectClient("cal");
  std::vector<std::string> adapters;
  for (const bool late_first : {true, false}) {
    const std::string id = StartWith(kAsynchronous, late_first ? "first" : "second");
    for (FakeClient* client : {ada.get(), bea.get(), cal.get()}) {
      late_first ? client->Join(100) : JoinNext(*client);
    }
    const v1::RoundAssignment slow = NextWork(*cal);
    HandInNext(*ada, 0.1F);
    HandInNext(*bea, 0.7F);
    const v1::RoundAssignment work = NextWork(*ada);
    NextWork(*bea);
    const auto late = [&] {
      EXPECT_THAT(cal->Submit(cal->HeaderFor(slow, Delta(0.3F)), Delta(0.3F)), IsGrpcOk());
    };
    if (late_first) late();
    EXPECT_THAT(ada->Submit(ada->HeaderFor(work, Delta(0.9F)), Delta(0.9F)), IsGrpcOk());
    if (!late_first) late();
    adapters.push_back(NextWork(*ada).adapter_sha256());
    Stop(id);
  }
  EXPECT_EQ(adapters[0], adapters[1]);
}

}  // namespace
}  // namespace fedtune::testing
