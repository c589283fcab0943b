// SPDX-License-Identifier: Apache-2.0

#include "base/usable_memory.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace fedtune {
namespace {

using std::filesystem::path;

// None if the file is not there or says "max".
std::optional<uint64_t> ReadNumber(const path& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  uint64_t number = 0;
  if (!text.ok()) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

// A control group: the folder where its hierarchy is mounted, its path in it, and the
// file that has its limit. In a container the path may be the host's and the mounted
// folder the group itself, so that only the latter is there.
struct ControlGroup {
  path mount;
  path group;
  std::string_view file;

  // Each group is limited by those it lies in, too.
  void AppendLimits(std::vector<uint64_t>& limits) const {
    path folder = group.relative_path();
    while (true) {
      if (const auto limit = ReadNumber(mount / folder / file)) limits.push_back(*limit);
      if (folder.empty()) return;
      folder = folder.parent_path();
    }
  }
};

// From a line "4:memory:/user.slice" of version 1, "0::/user.slice" of version 2.
std::optional<ControlGroup> ParseGroup(const std::string& line, const path& root) {
  std::istringstream parts(line);
  std::string number, controllers, group;
  if (!std::getline(parts, number, ':') || !std::getline(parts, controllers, ':') ||
      !std::getline(parts, group)) {
    return std::nullopt;
  }
  const path mount = root / "sys/fs/cgroup";
  if (controllers.empty()) return ControlGroup{mount, group, "memory.max"};
  if (controllers != "memory") return std::nullopt;
  return ControlGroup{mount / "memory", group, "memory.limit_in_bytes"};
}

}  // namespace

std::optional<uint64_t> ControlGroupLimit(const path& root) {
  const absl::StatusOr<std::string> groups = ReadFile(root / "proc/self/cgroup");
  if (!groups.ok()) return std::nullopt;
  std::vector<uint64_t> limits;
  std::istringstream lines(*groups);
  for (std::string line; std::getline(lines, line);) {
    if (const auto group = ParseGroup(line, root)) group->AppendLimits(limits);
  }
  if (limits.empty()) return std::nullopt;
  return *std::min_element(limits.begin(), limits.end());
}

uint64_t UsableMemory() {
  const uint64_t machine = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                           static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return std::min(machine, ControlGroupLimit("/").value_or(machine));
}

}  // namespace fedtune
