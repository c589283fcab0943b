// SPDX-License-Identifier: Apache-2.0

#include "cli/run_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_json.h"

namespace fedtune {
namespace {

using testing::HasSubstr;
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

}  // namespace
}  // namespace fedtune
