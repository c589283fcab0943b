// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/client_records.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;

// Keeps clients in memory, and counts how often it is written to.
class CountingStore final : public FederationStore {
 public:
  absl::Status SaveClients(const std::vector<ClientRecord>& clients) override {
    const std::lock_guard lock(mutex_);
    ++writes_;
    written_.notify_all();
    if (full_) return absl::ResourceExhaustedError("disk full");
    for (const ClientRecord& client : clients) {
      clients_.insert_or_assign(client.institution, client);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<ClientRecord>> Clients() const override {
    const std::lock_guard lock(mutex_);
    if (full_) return absl::InternalError("cannot be read");
    std::vector<ClientRecord> clients;
    for (const auto& [institution, client] : clients_) clients.push_back(client);
    return clients;
  }
  absl::Status SaveModel(const ModelRecord&) override { return absl::OkStatus(); }
  absl::StatusOr<std::optional<ModelRecord>> FindModel(std::string_view) const override {
    return std::nullopt;
  }
  absl::StatusOr<std::vector<ModelRecord>> Models() const override {
    return std::vector<ModelRecord>();
  }

  void SetFull(bool full) {
    const std::lock_guard lock(mutex_);
    full_ = full;
  }
  int writes() const {
    const std::lock_guard lock(mutex_);
    return writes_;
  }
  void AwaitWrites(int count) const {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [&] { return writes_ >= count; });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable written_;
  std::map<Institution, ClientRecord> clients_;
  bool full_ = false;
  int writes_ = 0;
};

ClientRecord Client(const std::string& name, int64_t example_count) {
  ClientRecord client;
  client.institution = {name};
  client.example_count = example_count;
  return client;
}

class ClientRecordsTest : public ::testing::Test {
 protected:
  void Open(absl::Duration pause) {
    records_ = std::make_unique<ClientRecords>(store_, log_, pause);
  }

  CountingStore store_;
  Log log_;
  std::unique_ptr<ClientRecords> records_;
};

TEST_F(ClientRecordsTest, GivesBackByNameWhatWasSavedStoredOrNot) {
  Open(absl::Hours(1));
  records_->Save(Client("bea", 2));
  store_.AwaitWrites(1);
  records_->Save(Client("ada", 1));
  records_->Save(Client("bea", 3));
  EXPECT_THAT(*records_->All(), ElementsAre(Client("ada", 1), Client("bea", 3)));
}

TEST_F(ClientRecordsTest, AClientThatComesAndGoesAllTheTimeIsWrittenSeldom) {
  Open(absl::Hours(1));
  for (int i = 0; i < 10'000; ++i) records_->Save(Client("ada", i));
  store_.AwaitWrites(1);
  records_.reset();
  EXPECT_LE(store_.writes(), 2);
  EXPECT_THAT(*store_.Clients(), ElementsAre(Client("ada", 9'999)));
}

TEST_F(ClientRecordsTest, StoresWhatIsLeftAtTheEnd) {
  Open(absl::Hours(1));
  records_->Save(Client("ada", 1));
  store_.AwaitWrites(1);
  records_->Save(Client("bea", 2));
  records_.reset();
  EXPECT_THAT(*store_.Clients(), ElementsAre(Client("ada", 1), Client("bea", 2)));
}

TEST_F(ClientRecordsTest, TriesAgainWhenTheDiskWasFull) {
  store_.SetFull(true);
  Open(absl::Milliseconds(1));
  records_->Save(Client("ada", 1));
  store_.AwaitWrites(3);
  store_.SetFull(false);
  store_.AwaitWrites(store_.writes() + 1);
  records_.reset();
  EXPECT_THAT(*store_.Clients(), ElementsAre(Client("ada", 1)));
}

TEST_F(ClientRecordsTest, SaysWhenTheStoreCannotBeRead) {
  store_.SetFull(true);
  Open(absl::Hours(1));
  EXPECT_THAT(records_->All(), HasCode(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace fedtune
