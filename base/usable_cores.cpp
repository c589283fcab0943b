// SPDX-License-Identifier: Apache-2.0

#include "base/usable_cores.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/control_group.h"
#include "base/files.h"

namespace fedtune {
namespace {

using std::filesystem::path;

constexpr std::string_view kQuotaV1 = "cpu.cfs_quota_us";
constexpr std::string_view kPeriodV1 = "cpu.cfs_period_us";

// Both numbers of "150000 100000": microseconds of processor time in each period. None
// where there is no limit: "max 100000", or -1 in version 1.
std::optional<int> CoresOf(const std::string& quota_and_period) {
  std::istringstream numbers(quota_and_period);
  int64_t quota = 0, period = 0;
  constexpr int64_t kMostPeriod = 1'000'000'000;
  if (!(numbers >> quota >> period) || quota <= 0 || period <= 0 || period > kMostPeriod) {
    return std::nullopt;
  }
  constexpr int64_t kMostCores = 1 << 20;
  return static_cast<int>(std::min((quota - 1) / period + 1, kMostCores));
}

// What the file with a limit, and the one beside it in version 1, say.
std::optional<int> ReadCores(const path& file) {
  const absl::StatusOr<std::string> limit = ReadFile(file);
  if (!limit.ok()) return std::nullopt;
  if (file.filename() != kQuotaV1) return CoresOf(*limit);
  const absl::StatusOr<std::string> period = ReadFile(file.parent_path() / kPeriodV1);
  return period.ok() ? CoresOf(*limit + " " + *period) : std::nullopt;
}

// On which this thread may run. None if the system does not say.
std::optional<int> AllowedCores() {
  // Linux refuses a set with less room than the machine may have cores.
  constexpr size_t kMostSets = 64;
  std::array<cpu_set_t, kMostSets> sets = {};
  if (::sched_getaffinity(0, sizeof(sets), sets.data()) != 0) return std::nullopt;
  return CPU_COUNT_S(sizeof(sets), sets.data());
}

}  // namespace

std::optional<int> ControlGroupCores(const path& root) {
  std::optional<int> fewest;
  for (const path& file : LimitFiles(root, {"cpu", kQuotaV1, "cpu.max"})) {
    const std::optional<int> cores = ReadCores(file);
    if (cores) fewest = std::min(*cores, fewest.value_or(*cores));
  }
  return fewest;
}

int UsableCores() {
  const int machine = static_cast<int>(std::thread::hardware_concurrency());
  const int allowed = AllowedCores().value_or(machine);
  return std::max(1, std::min(allowed, ControlGroupCores("/").value_or(allowed)));
}

}  // namespace fedtune
