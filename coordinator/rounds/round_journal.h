// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/value_range.h"
#include "coordinator/rounds/names.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

struct ReceivedFromClient {
  Institution from;
  ClientEvent event;
};

// Tick() has found the deadline of a phase passed.
struct TimeIsUp {};

// Another process has gone on with the run: nobody was connected any more.
struct NewProcess {};

// What is known of the values in a file of the spool without reading them.
struct SpooledContent {
  ValueRange range;            // Nothing of masked elements.
  std::vector<uint64_t> sums;  // Of its blocks.
};

// One of the entries from which a run is brought back to where it was within a
// round: first AttemptOpened, then everything that it has received since, in
// order. Nothing else decides what a run does, so that going through them again
// leads to the same state and the same effects. BetweenRounds stands alone, while
// there is nothing to go through.
struct JournalEntry {
  absl::Duration at;  // Since the attempt was opened, on the clock of Run.
  std::variant<AttemptOpened, ReceivedFromClient, RunEvent, TimeIsUp, NewProcess, BetweenRounds>
      what;
  // Of a contribution with bytes: the file in the spool that has them.
  std::string spool_file = "";
  uint64_t number = 0;                                   // Its place in the journal, from 0.
  std::optional<SpooledContent> content = std::nullopt;  // Of large ones.
};

// Whether the round may depend on this event. Progress is for people only.
bool IsJournalled(const ClientEvent& event);

// With a digest at its end. Events that IsJournalled() does not name, Released,
// PauseRequested and ResumeRequested have no encoding. StopRequested has one for the
// journals of programs that did not store it with the run yet.
std::string ToBytes(const JournalEntry& entry);

// DATA_LOSS: not what ToBytes() wrote.
absl::StatusOr<JournalEntry> JournalEntryFromBytes(std::string_view bytes);

}  // namespace fedtune
