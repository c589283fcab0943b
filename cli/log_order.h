// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "privacy/audit/log_entry.h"

namespace fedtune {

// Whether what a log says can have happened in this order, entry by entry: a run is started
// before its rounds are opened and those before they are released, rounds and attempts
// follow on one another, each round starts from what the one before has left, as many
// contributions are counted as a release says, and after a run's end nothing but its
// reopening.
//
// A run that was under way when the log began is started in it without what was before:
// its rounds may begin anywhere, as may those of a run that is reopened right after its
// start. A round that burns need not have been opened: the coordinator may know beforehand
// that it comes to nothing. A secure round may count no contribution by name. Clocks are
// set: times are not looked at.
//
// Its memory is that of the runs. Not thread-safe.
class LogOrder {
 public:
  // The next entry's event: why it contradicts those before it; absent: it does not. It
  // counts in any case, so that one contradiction is not told again and again.
  std::optional<std::string> Follow(const LogEvent& event);

  uint64_t runs() const { return runs_.size(); }
  uint64_t rounds_released() const { return released_; }  // The burnt ones included.
  uint64_t rounds_burnt() const { return burnt_; }

 private:
  using Contradiction = std::optional<std::string>;

  // A run's course so far; what is absent is not known, as it was before the log.
  struct Course {
    Digest initial_adapter;
    std::optional<int64_t> rounds_done;
    std::optional<Digest> adapter;    // The newest.
    std::optional<int64_t> attempts;  // The highest opened, of the round after those done.
    std::set<std::string> counted;    // To the same round.
    bool is_new = true;               // Nothing has followed on its start.
    bool has_ended = false;
    bool has_finished = false;
  };

  // That a run is started, or the first that follows on it: an attempt that is open.
  bool TellsWhereARunIs(const LogEvent& event) const;

  Contradiction Take(const LogBegun& event);
  Contradiction Take(const RunStarted& event);
  Contradiction Take(const RoundOpened& event);
  Contradiction Take(const ContributionCounted& event);
  Contradiction Take(const RoundReleased& event);
  Contradiction Take(const RunClosed& event);
  Contradiction Take(const RunReopened& event);
  Contradiction Take(const PauseAsked& event) { return TakeWithin(event.run); }
  Contradiction Take(const RunResumed& event) { return TakeWithin(event.run); }
  Contradiction Take(const StopAsked& event) { return TakeWithin(event.run); }

  // Of a run that is under way.
  Contradiction TakeWithin(const std::string& run);
  Contradiction CheckUnderWay(const std::string& run) const;

  Course& CourseOf(const std::string& run);
  static Contradiction CheckRound(const Course& course, const std::string& run, int64_t round);
  static Contradiction CheckOpened(const Course& course, const RoundOpened& event);
  static Contradiction CheckReleased(const Course& course, const RoundReleased& event);
  // The run is at this round, of which nothing is known.
  static void GoTo(Course& course, int64_t round);

  bool is_empty_ = true;
  bool is_beginning_ = true;  // So far the log may say where runs are that are older than it.
  uint64_t released_ = 0;
  uint64_t burnt_ = 0;
  std::map<std::string, Course, std::less<>> runs_;
};

}  // namespace fedtune
