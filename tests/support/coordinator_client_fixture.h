// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/transport/coordinator_client.h"
#include "client/transport/fake_coordinator.h"
#include "gmock/gmock.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_federation.h"

namespace fedtune::testing {

// Keeps what the session says until a test asks.
class KeptLines final : public SessionListener {
 public:
  absl::Status OnWelcome(const Welcome& welcome) override {
    Put("welcome to " + welcome.federation);
    return absl::OkStatus();
  }
  absl::Status OnInstruction(const Instruction& instruction) override {
    if (room == 0) return absl::ResourceExhaustedError("too much is waiting");
    --room;
    if (const auto* assignment = std::get_if<Assignment>(&instruction)) {
      Put("assigned " + assignment->id.run);
    } else {
      Put("another instruction");
    }
    return absl::OkStatus();
  }
  void OnLost(const absl::Status& reason, absl::Duration retry_in) override {
    last_pause = retry_in;
    Put("lost: " + std::string(Message(reason)));
  }

  std::string Next() {
    std::unique_lock lock(mutex_);
    put_.wait(lock, [this] { return !lines_.empty(); });
    std::string line = std::move(lines_.front());
    lines_.pop_front();
    return line;
  }

  int room = 100;  // For so many instructions.
  std::atomic<absl::Duration> last_pause;

 private:
  void Put(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    put_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable put_;
  std::deque<std::string> lines_;
};

template <typename T>
std::shared_ptr<const T> Shared(T contribution) {
  return std::make_shared<const T>(std::move(contribution));
}

class CoordinatorClientTest : public ::testing::Test {
 protected:
  ChannelOptions OptionsFor(const std::string& address) const {
    return {.address = address, .files = keys_, .federation = "north"};
  }

  std::unique_ptr<CoordinatorClient> Connect() {
    return std::make_unique<CoordinatorClient>(OptionsFor(coordinator_.address()),
                                               Greeting{.client_version = "1"}, listener_);
  }

  static WantedAdapter Wanted(const std::string& expected) {
    return {.digest = Sha256Of(expected),
            .value_count = static_cast<int64_t>(expected.size() / sizeof(float))};
  }

  // Of the values with these bytes.
  absl::StatusOr<std::string> Fetch(CoordinatorClient& client, const std::string& expected,
                                    std::stop_token stop = {}) {
    ASSIGN_OR_RETURN(
        const std::vector<float> values,
        client.FetchAdapter(Wanted(expected), std::move(stop), [](uint64_t, uint64_t) {}));
    return std::string(ValueBytes(values));
  }

  const testing::TemporaryDirectory directory_;
  const TestFederation federation_;
  const CredentialFiles keys_ =
      federation_.WriteCredentials(directory_.path() / "st-anna", Role::kClient, "st-anna");
  FakeCoordinator coordinator_{
      federation_.WriteCredentials(directory_.path() / "coordinator", Role::kCoordinator, "main")};
  KeptLines listener_;
};

}  // namespace fedtune::testing
