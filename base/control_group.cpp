// SPDX-License-Identifier: Apache-2.0

#include "base/control_group.h"

#include <optional>
#include <sstream>
#include <string>

#include "base/files.h"

namespace fedtune {
namespace {

using std::filesystem::path;

// A control group: the folder where its hierarchy is mounted, its path in it, and the
// file that has its limit. In a container the path may be the host's and the mounted
// folder the group itself, so that only the latter is there.
struct ControlGroup {
  path mount;
  path group;
  std::string_view file;

  // Each group is limited by those it lies in, too.
  void AppendFiles(std::vector<path>& files) const {
    path folder = group.relative_path();
    while (true) {
      files.push_back(mount / folder / file);
      if (folder.empty()) return;
      folder = folder.parent_path();
    }
  }
};

// Whether a list as "cpu,cpuacct" has the name.
bool Lists(const std::string& controllers, std::string_view name) {
  std::istringstream names(controllers);
  for (std::string each; std::getline(names, each, ',');) {
    if (each == name) return true;
  }
  return false;
}

// From a line "4:memory:/user.slice" of version 1, "0::/user.slice" of version 2.
std::optional<ControlGroup> ParseGroup(const std::string& line, const path& root,
                                       const GroupController& controller) {
  std::istringstream parts(line);
  std::string number, controllers, group;
  if (!std::getline(parts, number, ':') || !std::getline(parts, controllers, ':') ||
      !std::getline(parts, group)) {
    return std::nullopt;
  }
  const path mount = root / "sys/fs/cgroup";
  if (controllers.empty()) return ControlGroup{mount, group, controller.limit_v2};
  if (!Lists(controllers, controller.name)) return std::nullopt;
  return ControlGroup{mount / controller.name, group, controller.limit_v1};
}

}  // namespace

std::vector<path> LimitFiles(const path& root, const GroupController& controller) {
  std::vector<path> files;
  const absl::StatusOr<std::string> groups = ReadFile(root / "proc/self/cgroup");
  if (!groups.ok()) return files;
  std::istringstream lines(*groups);
  for (std::string line; std::getline(lines, line);) {
    if (const auto group = ParseGroup(line, root, controller)) group->AppendFiles(files);
  }
  return files;
}

}  // namespace fedtune
