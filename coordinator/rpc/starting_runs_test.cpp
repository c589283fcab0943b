// SPDX-License-Identifier: Apache-2.0

// Runs that are started, over real TLS, and those that are not.

#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::HasSubstr;

class StartingRunsTest : public ServerTest {
 protected:
  grpc::Status TryStartOnModel() {
    request_.set_base_model_json(ToJson(model_));
    return TryStart(request_);
  }

  v1::StartRunRequest request_ = StartRequest(1, 1);
  BaseModelDescription model_ = *BaseModelDescriptionFromJson(TinyModelJson());
};

TEST_F(StartingRunsTest, RefusesABaseModelWhoseRoutersContradictIt) {
  auto ada = ConnectClient("ada");
  model_.linear_layers.push_back({"model.layers.0.mlp.gate", LayerKind::kRouter, 3, 4});
  const grpc::Status status = TryStartOnModel();
  EXPECT_THAT(status, HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(status.error_message(), HasSubstr("has 4 outputs, and the model 0 routed experts"));
}

TEST_F(StartingRunsTest, TakesABaseModelWithAsManyLayersAsTheLargestHave) {
  const auto ada = ConnectClient("ada");
  for (int layer = 1; layer <= 60; ++layer) {  // Of Kimi K2; DeepSeek-V3 has 58 of 256.
    for (int expert = 0; expert < 384; ++expert) {
      for (const std::string_view leaf : {"gate_proj", "up_proj", "down_proj"}) {
        model_.linear_layers.push_back(
            {.name = fmt::format("model.layers.{}.mlp.experts.{}.{}", layer, expert, leaf),
             .kind = LayerKind::kRoutedExpert,
             .in_features = 7168,
             .out_features = 2048});
      }
    }
  }
  EXPECT_THAT(TryStartOnModel(), IsGrpcOk());
  EXPECT_GT(request_.base_model_json().size(), size_t{7} << 20);
}

TEST_F(StartingRunsTest, OneRequestStartsOneRun) {
  auto ada = ConnectClient("ada");
  v1::RunStatus first;
  v1::RunStatus second;
  ASSERT_THAT(TryStart(StartRequest(1, 1), &first), IsGrpcOk());
  ASSERT_THAT(TryStart(StartRequest(1, 1), &second), IsGrpcOk());
  EXPECT_EQ(first.run_id(), second.run_id());
}

TEST_F(StartingRunsTest, RefusesARunWithoutItsQuorum) {
  auto ada = ConnectClient("ada");
  const grpc::Status status = TryStart(StartRequest(1, 2));
  EXPECT_THAT(status, HasGrpcCode(FAILED_PRECONDITION));
  EXPECT_THAT(status.error_message(), HasSubstr("quorum is 2"));
}

TEST_F(StartingRunsTest, RefusesAnAdapterThatIsLargerThanItsMemory) {
  ConnectClient("ada");
  model_.linear_layers[0].in_features = int64_t{1} << 30;
  model_.linear_layers[0].out_features = int64_t{1} << 30;
  std::string plan = request_.plan_toml();
  plan.replace(plan.find("rank = 1\n"), 8, "rank = 128");
  request_.set_plan_toml(plan);
  const grpc::Status status = TryStartOnModel();
  EXPECT_THAT(status, HasGrpcCode(RESOURCE_EXHAUSTED));
  EXPECT_THAT(status.error_message(), HasSubstr("the adapter has 1.1 TB, and the coordinator may"));
}

TEST_F(StartingRunsTest, RefusesSequencesThatTheModelDoesNotTake) {
  model_.context_length = 16;
  EXPECT_THAT(TryStartOnModel(), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, RefusesAPlanThatIsWrong) {
  request_.set_plan_toml("nonsense = 1");
  EXPECT_THAT(TryStart(request_), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, RefusesASecurePlanWithoutASigningRoster) {
  request_.set_plan_toml(
      "name = 'p'\nbase_model = 'm'\n[adapter]\ntargets = ['q_proj']\nrank = 1\n[training]\nsteps "
      "= 1\n"
      "[rounds]\ncount = 1\n[aggregation]\nmode = 'secure'\n");
  const grpc::Status status = TryStart(request_);
  EXPECT_THAT(status, HasGrpcCode(grpc::StatusCode::FAILED_PRECONDITION));
  EXPECT_THAT(status.error_message(), HasSubstr("signing roster"));
}

TEST_F(StartingRunsTest, RefusesAModelThatIsNoJson) {
  request_.set_base_model_json("{");
  EXPECT_THAT(TryStart(request_), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, RefusesAModelThatIsNotInTheCatalogue) {
  request_.clear_base_model_json();
  EXPECT_THAT(TryStart(request_), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, RefusesAnotherDigestThanThePlans) {
  request_.set_plan_toml(
      fmt::format("base_digest = \"{}\"\n{}", Sha256Of("other").ToString(), PlanToml(1, 1)));
  EXPECT_THAT(TryStart(request_), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, RefusesARequestWithoutAnId) {
  request_.clear_request_id();
  EXPECT_THAT(TryStart(request_), HasGrpcCode(INVALID_ARGUMENT));
}

TEST_F(StartingRunsTest, TakesAModelFromTheCatalogueTheSecondTime) {
  auto ada = ConnectClient("ada");
  Stop(StartRun(1, 1).run_id());
  request_.set_request_id("second");
  request_.clear_base_model_json();
  EXPECT_THAT(TryStart(request_), IsGrpcOk());
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  ASSERT_THAT(Administrator()->ListModels(&context, {}, &models), IsGrpcOk());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "tiny");
}

}  // namespace
}  // namespace fedtune::testing
