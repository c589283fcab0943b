// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// What a coordinator's log says, one entry for each change of what it stores of its runs.
// An entry's bytes are one line of JSON, without a line break, its keys in the order below
// behind "at" (RFC 3339, UTC, milliseconds) and "event": who has only a text editor can
// read it, and who has the bytes can hash them. Rounds are numbered from 1, as everywhere
// for people; in these types from 0. Reasons that are empty are left out.

// The first entry of a log.
struct LogBegun {
  static constexpr std::string_view kEvent = "log begun";
  std::string id;  // Drawn at random, in hexadecimal: no two logs begin alike.
  friend bool operator==(const LogBegun&, const LogBegun&) = default;
};

// Also written, once, for each run that was under way when the log began.
struct RunStarted {
  static constexpr std::string_view kEvent = "run started";
  std::string run;
  Digest plan;              // Of the plan's text.
  Digest layout;            // Of the layout's JSON.
  std::string base_digest;  // "sha256:..."
  Digest adapter;           // The initial one.
  std::string started_by;
  friend bool operator==(const RunStarted&, const RunStarted&) = default;
};

// An attempt at a round; from then on clients may be asked.
struct RoundOpened {
  static constexpr std::string_view kEvent = "round opened";
  std::string run;
  int64_t round = 0;
  int64_t attempt = 1;
  Digest adapter;  // That it starts from.
  friend bool operator==(const RoundOpened&, const RoundOpened&) = default;
};

// One for each contribution that a release counts, before it.
struct ContributionCounted {
  static constexpr std::string_view kEvent = "contribution counted";
  std::string run;
  int64_t round = 0;
  std::string institution;
  Digest contribution;  // As its header names it.
  friend bool operator==(const ContributionCounted&, const ContributionCounted&) = default;
};

struct RoundReleased {
  static constexpr std::string_view kEvent = "round released";
  std::string run;
  int64_t round = 0;
  int64_t attempt = 1;
  int64_t contributions = 0;
  Digest adapter;     // That it has made; of a burnt one, that of before.
  std::string burnt;  // Why it has left the adapter as it was; empty: it has not.
  friend bool operator==(const RoundReleased&, const RoundReleased&) = default;
};

struct PauseAsked {
  static constexpr std::string_view kEvent = "pause asked";
  std::string run;
  std::string reason;
  friend bool operator==(const PauseAsked&, const PauseAsked&) = default;
};

struct RunResumed {
  static constexpr std::string_view kEvent = "run resumed";
  std::string run;
  friend bool operator==(const RunResumed&, const RunResumed&) = default;
};

struct StopAsked {
  static constexpr std::string_view kEvent = "stop asked";
  std::string run;
  std::string reason;
  friend bool operator==(const StopAsked&, const StopAsked&) = default;
};

struct RunClosed {
  static constexpr std::string_view kEvent = "run ended";
  std::string run;
  std::string state;  // "finished", "stopped" or "failed".
  std::string reason;
  friend bool operator==(const RunClosed&, const RunClosed&) = default;
};

// A run that failed or was stopped is under way again.
struct RunReopened {
  static constexpr std::string_view kEvent = "run reopened";
  std::string run;
  friend bool operator==(const RunReopened&, const RunReopened&) = default;
};

using LogEvent = std::variant<LogBegun, RunStarted, RoundOpened, ContributionCounted, RoundReleased,
                              PauseAsked, RunResumed, StopAsked, RunClosed, RunReopened>;

struct LogEntry {
  absl::Time at;  // Whole milliseconds.
  LogEvent event;

  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

inline constexpr size_t kLongestLogEntry = 1 << 20;

// Of one text in an entry; what is longer is cut.
inline constexpr size_t kLongestLogText = 4000;

// The bytes of an entry: the same entry has the same bytes. Texts are PrintableText(), so
// that the log may be shown on a terminal as it is.
// Requires: rounds and numbers from 0 on, attempts from 1, all below 2^53; a time of the
// years 0 to 9999.
std::string WriteLogEntry(const LogEntry& entry);

// Takes what WriteLogEntry() writes, to the byte.
// INVALID_ARGUMENT: anything else; says what. UNIMPLEMENTED: an event that this program
// does not know, as of a newer coordinator; its bytes still count in the tree.
absl::StatusOr<LogEntry> ParseLogEntry(std::string_view bytes);

// Of what run it is; empty: of none.
std::string RunOf(const LogEvent& event);

// "round 3 of run-7f3a opened, attempt 1, from sha256:5f2c...", for people.
std::string Describe(const LogEvent& event);

}  // namespace fedtune
