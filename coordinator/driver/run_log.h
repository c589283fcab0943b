// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/logging.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/run_events.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// What the coordinator's log says of one run; rounds are counted from 1 there. Thread-safe.
class RunLog {
 public:
  // `log` must outlive it.
  RunLog(RunId run, Log& log) : run_(std::move(run)), log_(log) {}

  // How a process begins with the run: "run started".
  void Begins(std::string_view how, std::string_view plan, const RunView& view) const;
  void Pauses(const std::string& reason) const;
  void Resumes() const;
  void Ends(const EndRun& end) const;

  void Released(const ReleaseRecord& release) const;

  void Fault(const ReportFault& fault) const;
  void Suspect(const ReportSuspect& suspect) const;
  // Contributions of these had been taken.
  void Lost(const std::vector<Institution>& from, const absl::Status& why) const;

  // Anything else that is not as it should be: `event` says what.
  void Warn(std::string_view event, const absl::Status& why) const;

 private:
  const RunId run_;
  Log& log_;
};

}  // namespace fedtune
