// SPDX-License-Identifier: Apache-2.0

#include "base/units.h"

#include <array>
#include <cmath>
#include <string_view>

#include "fmt/format.h"

namespace fedtune {
namespace {

std::string Scale(double value, const std::array<std::string_view, 5>& units) {
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  const std::string_view suffix = units[unit];
  const std::string number =
      unit == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}", value);
  return suffix.empty() ? number : fmt::format("{} {}", number, suffix);
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  return Scale(static_cast<double>(bytes), {"bytes", "kB", "MB", "GB", "TB"});
}

std::string HumanCount(uint64_t count) {
  return Scale(static_cast<double>(count), {"", "k", "M", "B", "T"});
}

std::string GroupDigits(uint64_t number) {
  std::string digits = fmt::format("{}", number);
  for (size_t left = digits.size(); left > 3; left -= 3) digits.insert(left - 3, ",");
  return digits;
}

std::string HumanDuration(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const int64_t whole_seconds = std::llround(seconds);
  if (whole_seconds < 60) return fmt::format("{} s", whole_seconds);
  if (whole_seconds < 600 && whole_seconds % 60 != 0) {
    return fmt::format("{} min {} s", whole_seconds / 60, whole_seconds % 60);
  }
  const int64_t minutes = std::llround(seconds / 60);
  if (minutes < 60) return fmt::format("{} min", minutes);
  if (minutes < 48 * 60) {
    return minutes % 60 == 0 ? fmt::format("{} h", minutes / 60)
                             : fmt::format("{} h {} min", minutes / 60, minutes % 60);
  }
  return fmt::format("{} days", (minutes + 12 * 60) / (24 * 60));
}

std::string HumanAgo(absl::Time then, absl::Time now) {
  if (now - then < absl::Seconds(1)) return "just now";
  const absl::Duration passed = now - then;
  return fmt::format(
      "{} ago",
      HumanDuration(passed < absl::Minutes(1) ? passed : absl::Floor(passed, absl::Minutes(1))));
}

}  // namespace fedtune
