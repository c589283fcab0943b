// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/client_gateway.h"
#include "coordinator/rounds/run.h"
#include "proto/fedtune/v1/training.pb.h"
#include "tests/simulation/auditor.h"
#include "tests/simulation/doubles.h"
#include "tests/simulation/faulty_store.h"
#include "tests/simulation/ground.h"
#include "tests/simulation/memory_run_store.h"
#include "tests/support/lossy_disk.h"

namespace fedtune::simulation {

inline const RunId kRun{"run-0001"};

// The coordinator's machine: its disk, and one process after another. A process is the
// real Driver; what is not real is the store, the network, and who does its work and
// wakes it. The spool is real, in a folder that loses what was not synced when the power
// is cut.
class SimulatedCoordinator {
 public:
  // All must outlive it. `uploads`: a folder for contributions on their way.
  SimulatedCoordinator(Ground& ground, Auditor& auditor, Doubles& doubles,
                       std::filesystem::path uploads);
  ~SimulatedCoordinator();

  // Begins a process unless one is there; the next ones begin by themselves.
  void Start();
  void Crash(std::string_view where);
  void CutPower(std::string_view where);
  void FillDisk(absl::Duration how_long) { faulty_.Fill(how_long); }
  void HoldStore(absl::Duration how_long) { faulty_.Hold(how_long); }

  // An administrator asks until it is done.
  void StartRun();
  void StopRun();
  void PauseRun();
  // As often as it takes.
  void ResumeRun();
  // A run that failed or was stopped, if it is to be tried again.
  void RetryRun();

  // Call it after everything that happens.
  void AfterEach() {
    if (process_ != nullptr) faulty_.LivesOn();
  }

  bool is_up() const { return process_ != nullptr; }
  int64_t generation() const { return generation_; }
  bool has_ended() const;
  // Has ended, and is not tried again.
  bool is_over() const;

  // A client's line; `tell` is called with each message, `close` at the end.
  struct Line {
    std::function<void(v1::CoordinatorMessage)> tell;
    std::function<void()> close;
  };
  // Says welcome, then what the runs have to say. Null when nobody answers.
  std::shared_ptr<ClientLine> Connect(const Institution& client, Line line);
  void Disconnect(const Institution& client, const ClientLine* line);
  void Receive(const Institution& client, const v1::ClientMessage& message);

  absl::StatusOr<std::string> Fetch(const Digest& digest);

  // A contribution comes in: its header; a part of its bytes; all of them, unless
  // the call has broken off. As rpc/contribution_upload.h.
  class Upload;
  absl::StatusOr<std::shared_ptr<Upload>> Begin(const Institution& from,
                                                v1::ContributionHeader header);
  absl::Status Finish(Upload& upload, std::string_view bytes, bool whole);

 private:
  class ToldLine;
  struct Process;

  ActiveRuns::Queues QueuesOf(const std::shared_ptr<Process>& process);
  template <typename F>
  auto Do(F what) -> decltype(what(std::declval<Process&>()));
  void Do(const std::shared_ptr<Process>& process, const std::function<void()>& what);
  absl::Status TakeMasked(Upload& upload, std::string_view bytes);
  absl::Status TakePlain(Upload& upload, std::string_view bytes, bool whole);
  absl::Status HandIn(HandedIn handed);
  void EndHereAtTimes(double likelihood, std::string_view where);
  std::optional<RunView> View();

  Ground& ground_;
  Auditor& auditor_;
  Doubles& doubles_;
  const std::filesystem::path uploads_;
  testing::LossyDisk spool_disk_;
  MemoryRunStore disk_;
  FaultyStore faulty_;
  std::shared_ptr<Process> process_;
  std::vector<HandedIn*> joined_;                // What has come, and waits for more.
  std::vector<std::shared_ptr<Process>> ended_;  // Others may still point into them.
  int64_t generation_ = 0;
  int64_t retries_left_ = 0;
  int64_t tries_left_ = 0;  // Until it gives up.
};

}  // namespace fedtune::simulation
