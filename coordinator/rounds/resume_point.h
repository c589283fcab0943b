// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/rounds/names.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/round_summary.h"

namespace fedtune {

// What a run that was under way needs to go on in a new process.
struct ResumePoint {
  struct Client {
    Institution institution;
    bool accepted = false;
    bool declined = false;
    bool refuses_log = false;  // That is why.
    std::string reason = "";
    int64_t example_count = 0;
    int64_t rounds_contributed = 0;
    // Both if no attempt was open; else the journal has them.
    std::optional<Blame> blame = std::nullopt;
    std::optional<OpenWork> work = std::nullopt;
  };
  int64_t rounds_done = 0;
  // The highest attempt of the next round that was ever opened; 0 for none. The
  // new one gets the next number; a secure round that was open burns.
  int64_t attempts_opened = 0;
  int64_t rounds_burnt = 0;    // Of those done.
  int64_t burnt_in_a_row = 0;  // Right before the next one.
  std::vector<Client> clients = {};
  std::optional<RoundSummary> last_round = std::nullopt;
  std::optional<EvaluationSummary> first_evaluation = std::nullopt;
  std::optional<EvaluationSummary> last_evaluation = std::nullopt;
  // Of the attempt that was open; empty if none was.
  std::vector<JournalEntry> journal = {};
  // Why the run is paused, or is to pause after the open round.
  std::optional<std::string> pause = std::nullopt;
  // Why it is to stop: it ends at once, whatever its journal says.
  std::optional<std::string> stop = std::nullopt;
  // It had failed or was stopped, and is tried again: as when a run starts, a quorum
  // must be there.
  bool retried = false;
  // Why something that the journal names is lost, which a secure round cannot do
  // without; empty if all is there.
  std::string lost = "";
};

}  // namespace fedtune
