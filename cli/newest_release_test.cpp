// SPDX-License-Identifier: Apache-2.0

#include "cli/newest_release.h"

#include <string>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/served_administrator.h"
#include "tests/support/status_matchers.h"
#include "tests/support/tiny_plan.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// A coordinator with a run of which each round releases two values, its number and a zero.
class BusyCoordinator final : public v1::Administration::Service {
 public:
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest*,
                      v1::GetRunResponse* response) override {
    v1::RunStatus& run = *response->mutable_run();
    run.set_run_id("run-7f3a");
    run.set_rounds_done(rounds_done);
    run.set_adapter_bytes(8);
    if (rounds_done > 0) run.set_adapter_sha256(Sha256Of(Release(rounds_done)).ToBinary());
    response->set_plan_toml(testing::TinyPlanToml({.rounds = "count = 9\nquorum = 1"}));
    response->set_layout_json(layout.ToJson());
    rounds_done += rounds_until_fetched;
    return grpc::Status::OK;
  }

  grpc::Status FetchBlob(grpc::ServerContext*, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override {
    rounds_until_fetched = 0;
    for (int64_t round = rounds_done; round > rounds_done - kept; --round) {
      if (Sha256Of(Release(round)).ToBinary() != request->sha256()) continue;
      v1::BlobChunk chunk;
      chunk.set_data(Release(round));
      writer->Write(chunk);
      return grpc::Status::OK;
    }
    return {grpc::StatusCode::NOT_FOUND, "there is no blob"};
  }

  static std::string Release(int64_t round) {
    const std::vector<float> values = {static_cast<float>(round), 0};
    return std::string(ValueBytes(values));
  }

  const AdapterLayout layout = *AdapterLayout::Create({{.name = "model.layers.0.self_attn.q_proj",
                                                        .in_features = 1,
                                                        .out_features = 1,
                                                        .lora_rank = 1,
                                                        .alpha = 1}});
  int64_t rounds_done = 5;
  int64_t rounds_until_fetched = 0;  // That are done before anything is fetched.
  int64_t kept = 3;
};

class NewestReleaseTest : public ::testing::Test {
 protected:
  BusyCoordinator coordinator_;
  const testing::ServedAdministrator ada_{coordinator_};
  const absl::StatusOr<CoordinatorConnection> connection_ = ada_.Connect();
};

TEST_F(NewestReleaseTest, IsOneThatIsKeptWhenItIsFetched) {
  coordinator_.rounds_until_fetched = 2;
  auto release = FindNewestRelease(*connection_, "run-7f3a");
  ASSERT_THAT(release.status(), IsOk());
  const auto values = FetchValues(*connection_, *release);
  ASSERT_THAT(values.status(), IsOk());
  EXPECT_THAT(*values, ElementsAre(5, 0));
  EXPECT_EQ(release->run.rounds_done(), 5);
}

TEST_F(NewestReleaseTest, BecomesANewerOneWhereTheRunHasGoneOnTooFar) {
  coordinator_.rounds_until_fetched = 3;
  auto release = FindNewestRelease(*connection_, "run-7f3a");
  ASSERT_THAT(release.status(), IsOk());
  const auto values = FetchValues(*connection_, *release);
  ASSERT_THAT(values.status(), IsOk());
  EXPECT_THAT(*values, ElementsAre(8, 0));
  EXPECT_EQ(release->run.rounds_done(), 8);
  EXPECT_EQ(release->digest, Sha256Of(BusyCoordinator::Release(8)));
}

TEST_F(NewestReleaseTest, IsSaidToBeLostWhereTheCoordinatorDoesNotHaveIt) {
  coordinator_.kept = 0;
  auto release = FindNewestRelease(*connection_, "run-7f3a");
  ASSERT_THAT(release.status(), IsOk());
  const absl::Status status = FetchValues(*connection_, *release).status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(Message(status),
              HasSubstr("has lost the newest adapter of run-7f3a, after 5 rounds"));
}

TEST_F(NewestReleaseTest, IsNotThereBeforeARoundIsDone) {
  coordinator_.rounds_done = 0;
  const absl::Status status = FindNewestRelease(*connection_, "run-7f3a").status();
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(status), HasSubstr("run-7f3a has released nothing yet"));
}

}  // namespace
}  // namespace fedtune
