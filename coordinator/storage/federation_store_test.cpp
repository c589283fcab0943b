// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/federation_store.h"

#include <memory>

#include "coordinator/storage/sqlite_federation_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;
using testing::TemporaryDirectory;

constexpr absl::Time kStart = absl::FromUnixMillis(1'800'000'000'123);

class FederationStoreTest : public ::testing::Test {
 protected:
  FederationStoreTest() { Reopen(); }

  void Reopen() {
    store_.reset();
    store_ = std::make_unique<SqliteFederationStore>(
        *OpenStateDatabase(directory_.path() / "fedtune.sqlite"));
  }

  static ClientRecord Client(const std::string& name) {
    return {.institution = {name},
            .last_seen = kStart,
            .certificate_expires = kStart + absl::Hours(24),
            .version = "0.1.0",
            .device_kind = "cuda:0",
            .device_name = "A100",
            .memory_bytes = uint64_t{80} << 30,
            .threads = 16,
            .example_count = 12'480};
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<FederationStore> store_;
};

TEST_F(FederationStoreTest, RemembersClientsByName) {
  ASSERT_THAT(store_->SaveClients({Client("bea")}), IsOk());
  ASSERT_THAT(store_->SaveClients({Client("ada")}), IsOk());
  Reopen();
  EXPECT_THAT(*store_->Clients(), ElementsAre(Client("ada"), Client("bea")));
}

TEST_F(FederationStoreTest, AClientThatComesAgainReplacesWhatWasKnown) {
  ASSERT_THAT(store_->SaveClients({Client("ada")}), IsOk());
  ClientRecord later = Client("ada");
  later.last_seen += absl::Hours(1);
  later.version = "0.2.0";
  ASSERT_THAT(store_->SaveClients({later}), IsOk());
  EXPECT_THAT(*store_->Clients(), ElementsAre(later));
}

TEST_F(FederationStoreTest, FindsAModelByName) {
  const ModelRecord model{
      .name = "tiny", .digest = "sha256:00", .base_model_json = "{}", .added = kStart};
  ASSERT_THAT(store_->SaveModel(model), IsOk());
  Reopen();
  EXPECT_EQ(*store_->FindModel("tiny"), model);
  EXPECT_EQ(*store_->FindModel("huge"), std::nullopt);
  EXPECT_THAT(*store_->Models(), ElementsAre(model));
}

TEST_F(FederationStoreTest, AModelOfTheSameNameReplacesTheOther) {
  ModelRecord model{
      .name = "tiny", .digest = "sha256:00", .base_model_json = "{}", .added = kStart};
  ASSERT_THAT(store_->SaveModel(model), IsOk());
  model.digest = "sha256:11";
  ASSERT_THAT(store_->SaveModel(model), IsOk());
  EXPECT_THAT(*store_->Models(), ElementsAre(model));
}

}  // namespace
}  // namespace fedtune
