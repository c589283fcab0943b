// SPDX-License-Identifier: Apache-2.0

// An institution's policy and the hours in it.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "client/policy/hours.h"
#include "client/policy/policy.h"

namespace {

// What OpensAt() and ClosesAt() promise, at an hour that `size` chooses.
void CheckHours(const fedtune::Hours& hours, size_t size) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000) + absl::Minutes(size % 1440);
  const auto opens = hours.OpensAt(now, utc);
  if (opens.has_value()) {
    fedtune::Check(*opens > now && *opens <= now + absl::Hours(24), "opens within a day");
    fedtune::Check(!hours.OpensAt(*opens, utc).has_value(), "is open then");
  } else if (const auto closes = hours.ClosesAt(now, utc); closes.has_value()) {
    fedtune::Check(*closes > now && hours.OpensAt(*closes, utc).has_value(), "is closed then");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto hours = fedtune::Hours::Parse(text);
  if (hours.ok()) {
    fedtune::Check(hours->ToString() == text, "hours are written as they came");
    CheckHours(*hours, size);
  }
  const auto policy = fedtune::ParsePolicy(text, "policy.toml");
  if (!policy.ok()) return 0;
  fedtune::Check(policy->max_rank >= 0 && policy->max_rounds >= 0 && policy->min_cohort >= 0,
                 "limits");
  CheckHours(policy->hours, size);
  return 0;
}
