// SPDX-License-Identifier: Apache-2.0

#include "base/usable_memory.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "base/control_group.h"
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

}  // namespace

std::optional<uint64_t> ControlGroupLimit(const path& root) {
  std::optional<uint64_t> least;
  for (const path& file : LimitFiles(root, {"memory", "memory.limit_in_bytes", "memory.max"})) {
    const std::optional<uint64_t> limit = ReadNumber(file);
    if (limit) least = std::min(*limit, least.value_or(*limit));
  }
  return least;
}

uint64_t UsableMemory() {
  const uint64_t machine = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                           static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return std::min(machine, ControlGroupLimit("/").value_or(machine));
}

}  // namespace fedtune
