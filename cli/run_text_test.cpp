// SPDX-License-Identifier: Apache-2.0

#include "cli/run_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/run_json.h"
#include "cli/watch_text.h"

namespace fedtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

void AddLayer(v1::RoundSummary& round, double variation, double idle_share) {
  v1::LayerRouting& layer = *round.add_routing();
  layer.set_routed_tokens(80);
  layer.set_load_variation(variation);
  layer.set_idle_share(idle_share);
}

// A run with one round of a model that has two layers of four experts.
v1::GetRunResponse OneRound() {
  v1::GetRunResponse response;
  v1::RoundSummary& last = *response.mutable_run()->mutable_last_round();
  AddLayer(last, 0.62, 0.25);
  AddLayer(last, 0.314, 0);
  *response.add_rounds() = last;
  for (const int64_t tokens : {0, 10, 30, 40}) {
    response.mutable_rounds(0)->mutable_routing(0)->add_expert_tokens(tokens);
  }
  return response;
}

TEST(RunDetailsTest, SaysHowEvenlyTheTokensOfTheLastRoundWereRouted) {
  EXPECT_THAT(RunDetails(OneRound(), absl::UnixEpoch()),
              HasSubstr("  routing       load varies by 0.31 to 0.62 between the experts of 2 "
                        "layers (deviation over mean); 12.5 % had no token\n"));
}

TEST(RunDetailsTest, SaysNothingOfTheExpertsOfADenseModel) {
  v1::GetRunResponse response = OneRound();
  response.mutable_run()->mutable_last_round()->clear_routing();
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), Not(HasSubstr("routing")));
}

TEST(RunToJsonTest, HasTheRoutingOfEachRoundLayerByLayer) {
  const nlohmann::ordered_json json = RunToJson(OneRound());
  EXPECT_EQ(json["last_round"]["routing"].dump(),
            R"([{"routed_tokens":80,"load_variation":0.62,"idle_share":0.25},)"
            R"({"routed_tokens":80,"load_variation":0.314,"idle_share":0.0}])");
  EXPECT_EQ(json["rounds"][0]["routing"][0]["expert_tokens"].dump(), "[0,10,30,40]");
  EXPECT_FALSE(json["rounds"][0]["routing"][1].contains("expert_tokens"));
}

TEST(RunDetailsTest, SaysHowManyRoundsHaveBurntAndWhyTheLastOneDid) {
  v1::GetRunResponse response = OneRound();
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), Not(HasSubstr("burnt")));
  response.mutable_run()->set_rounds_done(2);
  v1::RoundSummary& last = *response.mutable_run()->mutable_last_round();
  last.set_round(1);
  last.set_burnt("too few clients agreed");
  *response.add_rounds() = last;
  const std::string details = RunDetails(response, absl::UnixEpoch());
  EXPECT_THAT(details, HasSubstr("  last round    burnt, and left the adapter as it was: too few "
                                 "clients agreed\n"));
  EXPECT_THAT(details, HasSubstr("  burnt         1 of 2 rounds left the adapter as it was; the "
                                 "newest of them round 2: too few clients agreed\n"));
  EXPECT_EQ(RunToJson(response)["rounds"][1]["burnt"], "too few clients agreed");
  EXPECT_EQ(RunToJson(response)["rounds"][1]["round"], 2) << "as in texts";
}

TEST(RunDetailsTest, SaysWhatTheCoordinatorWaitsFor) {
  v1::GetRunResponse response;
  response.mutable_run()->set_state(v1::RunStatus::STATE_RUNNING);
  response.mutable_run()->set_reason("disk full");
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), HasSubstr("waits         disk full\n"));
}

TEST(PauseTextTest, SaysWhetherAndWhenARunGoesOn) {
  v1::RunStatus run;
  run.set_state(v1::RunStatus::STATE_RUNNING);
  run.set_rounds_done(2);
  run.set_round_count(12);
  EXPECT_EQ(PauseText(run), "goes on, 2 of 12 rounds are done");
  run.set_pausing(true);
  EXPECT_EQ(PauseText(run), "pauses when round 3 of 12 is over");
  run.set_reason("maintenance");
  run.set_pausing(false);
  run.set_state(v1::RunStatus::STATE_PAUSED);
  EXPECT_EQ(PauseText(run), "paused after 2 of 12 rounds: maintenance");
}

TEST(StoppingTextTest, SaysWhichReleaseIsTheLast) {
  v1::RunStatus run;
  run.set_state(v1::RunStatus::STATE_RUNNING);
  run.set_rounds_done(48);
  run.set_round_count(150);
  EXPECT_EQ(StoppingText(run), "stops when the release of round 49 of 150 is stored");
}

TEST(RunDetailsTest, TakesNoRecordsOfAClientForNotToldHowMany) {
  v1::GetRunResponse response;
  v1::RunClient& client = *response.mutable_run()->add_clients();
  client.set_institution("st-anna");
  client.set_state("training");
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), HasSubstr("training  0       -"));
  client.set_example_count(1450);
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), HasSubstr("training  0       1,450"));
}

TEST(RunDetailsTest, SaysForHowManyRecordsAClientCounts) {
  v1::GetRunResponse response;
  v1::RunClient& client = *response.mutable_run()->add_clients();
  client.set_example_count(1'000'000);
  client.set_weight(4096);
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), HasSubstr("1,000,000 (counts for 4,096)"));
  EXPECT_EQ(RunToJson(response)["clients"][0]["weight"], 4096);
  client.set_weight(1'000'000);
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), Not(HasSubstr("counts for")));
  client.set_weight(1);
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), Not(HasSubstr("counts for")))
      << "all count the same";
}

// A run of these, by name, with what they count for.
v1::RunStatus Weighing(const std::vector<std::pair<std::string, int64_t>>& weights) {
  v1::RunStatus run;
  run.set_run_id("run-1");
  run.set_state(v1::RunStatus::STATE_RUNNING);
  for (const auto& [name, weight] : weights) {
    v1::RunClient& client = *run.add_clients();
    client.set_institution(name);
    client.set_example_count(weight);
    client.set_weight(weight);
  }
  return run;
}

TEST(LargestShareTextTest, NamesWhoAloneMakesTheMean) {
  v1::GetRunResponse response;
  *response.mutable_run() = Weighing({{"charite", 600}, {"uke", 400}, {"st-anna", 999'000}});
  EXPECT_EQ(LargestShareText(response.run()),
            "st-anna makes up 99.9 % of a mean over all of them, by the 999,000 records that it "
            "says it has; max_weight in [aggregation] of a plan is a bound on that");
  EXPECT_THAT(RunDetails(response, absl::UnixEpoch()), HasSubstr("  weights       st-anna makes"));
  EXPECT_THAT(WatchNews(Weighing({{"charite", 600}}), response.run()),
              ElementsAre(LargestShareText(response.run())));
  EXPECT_THAT(WatchNews(response.run(), response.run()), IsEmpty());
}

TEST(LargestShareTextTest, SaysNothingOfOrdinaryDifferences) {
  EXPECT_EQ(LargestShareText(Weighing({{"charite", 100}, {"uke", 900}})), "");
  EXPECT_EQ(LargestShareText(Weighing({{"charite", 0}, {"uke", 900}})), "") << "alone";
}

TEST(LargestShareTextTest, WaitsUntilAllHaveAnswered) {
  v1::RunStatus run = Weighing({{"charite", 1}, {"uke", 900}});
  run.set_state(v1::RunStatus::STATE_INVITING);
  EXPECT_EQ(LargestShareText(run), "");
}

TEST(ClientTableTest, TakesNoRecordsForNotToldHowMany) {
  v1::ListClientsResponse clients;
  v1::ClientStatus& client = *clients.add_clients();
  EXPECT_THAT(ClientTable(clients, absl::UnixEpoch()), HasSubstr("  -  "));
  EXPECT_THAT(ClientDetails(client, absl::UnixEpoch()), HasSubstr("records       not told"));
  client.set_example_count(1450);
  EXPECT_THAT(ClientTable(clients, absl::UnixEpoch()), HasSubstr("  1,450"));
  EXPECT_THAT(ClientDetails(client, absl::UnixEpoch()), HasSubstr("records       1,450"));
}

TEST(ClientTableTest, SaysHowLongCertificatesAreStillValid) {
  v1::ListClientsResponse clients;
  v1::ClientStatus& client = *clients.add_clients();
  const absl::Time end = absl::FromUnixSeconds(1'800'000'000);
  client.set_certificate_expires_unix_ms(absl::ToUnixMillis(end));
  EXPECT_THAT(ClientTable(clients, end - absl::Hours(24 * 12)), HasSubstr("  12 days left"));
  EXPECT_THAT(ClientDetails(client, end - absl::Hours(24 * 12)), HasSubstr(" (12 days left)"));
  EXPECT_THAT(ClientTable(clients, end + absl::Hours(1)), HasSubstr("  expired"));
}

TEST(RunTableTest, ShowsRunsThatArePausedOrAboutTo) {
  v1::ListRunsResponse runs;
  v1::RunStatus& pausing = *runs.add_runs();
  pausing.set_run_id("run-1");
  pausing.set_state(v1::RunStatus::STATE_RUNNING);
  pausing.set_pausing(true);
  runs.add_runs()->set_state(v1::RunStatus::STATE_PAUSED);
  const std::string table = RunTable(runs, absl::UnixEpoch());
  EXPECT_THAT(table, HasSubstr(" pausing "));
  EXPECT_THAT(table, HasSubstr(" paused "));
  EXPECT_EQ(RunToJson(pausing)["state"], "running");
  EXPECT_EQ(RunToJson(pausing)["pausing"], true);
}

}  // namespace
}  // namespace fedtune
