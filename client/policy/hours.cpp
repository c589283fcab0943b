// SPDX-License-Identifier: Apache-2.0

#include "client/policy/hours.h"

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kNoMinute = -1;

// "HH:MM" as minutes of the day; 24:00 is allowed. kNoMinute when it is not that.
int ParseMinute(std::string_view text) {
  const auto digit = [&](size_t at) { return text[at] >= '0' && text[at] <= '9'; };
  if (text.size() != 5 || text[2] != ':') return kNoMinute;
  if (!digit(0) || !digit(1) || !digit(3) || !digit(4)) return kNoMinute;
  const int hour = (text[0] - '0') * 10 + (text[1] - '0');
  const int minute = (text[3] - '0') * 10 + (text[4] - '0');
  if (minute > 59 || hour > 24 || (hour == 24 && minute > 0)) return kNoMinute;
  return hour * 60 + minute;
}

int MinuteOfDay(absl::CivilMinute civil) { return civil.hour() * 60 + civil.minute(); }

// The next moment after `now` at which local clocks show `minute` of the day.
absl::Time NextTimeAt(int minute, absl::Time now, absl::TimeZone zone) {
  const absl::CivilDay today = absl::ToCivilDay(now, zone);
  for (int days = 0;; ++days) {
    const absl::Time time = absl::FromCivil(absl::CivilMinute(today + days) + minute, zone);
    if (time > now) return time;
  }
}

}  // namespace

absl::StatusOr<Hours> Hours::Parse(std::string_view text) {
  const bool dash = text.size() == 11 && text[5] == '-';
  const int start = dash ? ParseMinute(text.substr(0, 5)) : kNoMinute;
  const int end = dash ? ParseMinute(text.substr(6)) : kNoMinute;
  if (start == kNoMinute || end == kNoMinute || start == end || start == kMinutesPerDay) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\" is not a window of the day such as \"20:00-06:00\"", text));
  }
  Hours hours;
  hours.start_minute_ = start;
  hours.end_minute_ = end;
  return hours;
}

bool Hours::Contains(int minute) const {
  if (start_minute_ < end_minute_) return minute >= start_minute_ && minute < end_minute_;
  return minute >= start_minute_ || minute < end_minute_;
}

std::optional<absl::Time> Hours::OpensAt(absl::Time now, absl::TimeZone zone) const {
  if (Contains(MinuteOfDay(absl::ToCivilMinute(now, zone)))) return std::nullopt;
  return NextTimeAt(start_minute_, now, zone);
}

std::optional<absl::Time> Hours::ClosesAt(absl::Time now, absl::TimeZone zone) const {
  if (WholeDay()) return std::nullopt;
  return NextTimeAt(end_minute_, now, zone);
}

std::string Hours::ToString() const {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", start_minute_ / 60, start_minute_ % 60,
                     end_minute_ / 60, end_minute_ % 60);
}

}  // namespace fedtune
