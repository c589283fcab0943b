// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/rounds/run.h"
#include "tests/scenarios/script.h"
#include "tests/support/run_journal.h"

namespace fedtune::testing {

// Plays scenarios on one Run. The commands, with NAMES for one or more
// institutions:
//
//   plan rounds=3 quorum=2 deadline=1h method=alternating weights=examples
//        cohort=0 every=0 institutions=charite,uke   (each with this default;
//        no institutions: all that are connected)
//   connect NAMES, disconnect NAMES
//   start, restart           (in a new process: nobody is connected)
//   accept NAMES [examples=100], decline NAME REASON
//   progress NAME PHASE FRACTION
//   contribute NAMES [loss=1] [accuracy=0.5] [round=R] [attempt=A]
//   fail NAMES [reason=...]
//   advance TIME             (then the run is told the time)
//   released, release-failed REASON, stop REASON
//   status
//
// Time stands still but for `advance`.
class RunStage {
 public:
  // What the command makes the run do, or say, a line each; or what is wrong
  // with the command.
  std::vector<std::string> Play(const Command& command);

 private:
  std::vector<std::string> PlayForEach(const Command& command);
  std::vector<std::string> PlayOnRun(const Command& command);
  std::vector<std::string> MakePlan(const Command& command);
  std::vector<std::string> Start(std::optional<ResumePoint> resume);
  std::vector<std::string> Restart();
  std::vector<std::string> Contribute(const Institution& from, const Command& command);
  std::vector<std::string> Send(const Institution& from, ClientEvent event);
  std::vector<std::string> Send(RunEvent event);
  std::vector<std::string> Follow(const Effects& effects);
  std::vector<std::string> Status() const;
  ContributionHeader HeaderOf(const Institution& from, const Command& command) const;

  Plan plan_;
  std::vector<Institution> connected_;  // Before the start.
  absl::Duration now_ = absl::Hours(100);
  std::optional<Run> run_;
  RunJournal journal_;
};

}  // namespace fedtune::testing
