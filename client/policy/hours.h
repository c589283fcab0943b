// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace fedtune {

// A daily window of local time, which may go over midnight: "20:00-06:00".
// A plain value; every function of it is pure.
class Hours {
 public:
  // The whole day.
  Hours() = default;

  // INVALID_ARGUMENT: not "HH:MM-HH:MM", or both ends are the same.
  static absl::StatusOr<Hours> Parse(std::string_view text);

  // When the window opens next; nothing while it is open.
  std::optional<absl::Time> OpensAt(absl::Time now, absl::TimeZone zone) const;

  // When the window that is open at `now` closes; nothing when it never does.
  // Requires: the window is open.
  std::optional<absl::Time> ClosesAt(absl::Time now, absl::TimeZone zone) const;

  // "20:00-06:00", or "00:00-24:00" for the whole day.
  std::string ToString() const;

  friend bool operator==(const Hours&, const Hours&) = default;

 private:
  static constexpr int kMinutesPerDay = 24 * 60;

  bool WholeDay() const { return start_minute_ == 0 && end_minute_ == kMinutesPerDay; }
  bool Contains(int minute) const;

  int start_minute_ = 0;             // Of the day; in.
  int end_minute_ = kMinutesPerDay;  // Out.
};

}  // namespace fedtune
