// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/auditor.h"
#include "tests/simulation/client_surroundings.h"
#include "tests/simulation/doubles.h"
#include "tests/simulation/ground.h"
#include "tests/simulation/simulated_client.h"
#include "tests/simulation/simulated_coordinator.h"

namespace fedtune::simulation {

// One schedule from its seed to its end: a coordinator and its clients, the network
// between them, and what goes wrong. The same seed gives the same schedule.
class World final : public ClientSurroundings {
 public:
  World(uint64_t seed, Doubles& doubles, bool quiet = false);
  ~World() override;

  // Until the run has ended, or should have long ago.
  void Run();

  const Ground& ground() const { return ground_; }
  const Auditor& auditor() const { return auditor_; }

  // All that happened, a line each.
  std::string Story() const;

  // How it ended: "secure, finished, 2 rounds released, 1 of them burnt".
  std::string Summary() const;

  // ---- ClientSurroundings ----
  std::unique_ptr<SessionEnd> Connect(const Institution& client, SessionEars ears) override;
  absl::StatusOr<std::string> Fetch(const Institution& client, const Digest& digest,
                                    const std::function<bool()>& is_alive) override;
  absl::Status Submit(const Institution& client, const v1::ContributionHeader& header,
                      std::string_view bytes, const std::function<bool()>& is_alive) override;
  void Masks(const Institution& client, int64_t round, int64_t attempt,
             std::vector<uint32_t> elements) override {
    auditor_.Masks(client, round, attempt, std::move(elements));
  }
  void Ended(const Institution&, const std::filesystem::path& journal) override {
    doubles_.ClientEnded(journal);
  }
  uint64_t TrainingNonce() override { return doubles_.TrainingNonce(); }

 private:
  struct Link;
  class End;

  void Open(const std::shared_ptr<Link>& link);
  void Break(const std::shared_ptr<Link>& link);
  void Down(const std::shared_ptr<Link>& link, v1::CoordinatorMessage message);
  void Up(const std::shared_ptr<Link>& link, v1::ClientMessage message);
  void CheckGeneration();
  bool Reaches(const Institution& client) const;
  void Wait(absl::Duration time, const std::function<bool()>& is_alive);
  absl::Status HandIn(const Institution& client, const v1::ContributionHeader& header,
                      std::string_view bytes, const std::function<bool()>& is_alive);
  void Again(const Institution& client, const v1::ContributionHeader& header,
             std::string_view bytes);

  void Repeat(absl::Duration mean, const std::function<void()>& fault);
  void BeginFaults();
  SimulatedClient& AnyClient();
  absl::Duration Horizon() const;
  void TryAgainIfEnded();

  Doubles& doubles_;
  const std::filesystem::path directory_;
  Ground ground_;
  Auditor auditor_;
  SimulatedCoordinator coordinator_;
  std::vector<std::unique_ptr<SimulatedClient>> clients_;
  std::vector<std::shared_ptr<Link>> links_;
  std::map<Institution, absl::Duration> cut_off_;  // Until when.
  bool is_tried_again_ = false;
};

}  // namespace fedtune::simulation
