// SPDX-License-Identifier: Apache-2.0

#include "base/fail_point.h"

#ifdef FEDTUNE_FAIL_POINTS

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kVariable[] = "FEDTUNE_FAIL_POINT";

enum class Action { kNone, kKill, kError };

// What is to happen at a point. Only `reached` changes when threads run.
struct Arming {
  Action action = Action::kNone;
  uint64_t turn = 1;
  std::atomic<uint64_t> reached = 0;
};

std::array<Arming, kFailPoints.size()> armings;

[[noreturn]] void Refuse(std::string_view words) {
  std::string text = fmt::format(
      "{}: \"{}\" is not name[@turn]:kill or name[@turn]:error; there are\n", kVariable, words);
  for (const FailPointEntry& entry : kFailPoints) {
    text += fmt::format("  {}{}\n", entry.name, entry.can_fail ? "" : " (kill only)");
  }
  std::fputs(text.c_str(), stderr);
  std::_Exit(2);
}

Action ParseAction(std::string_view text, bool can_fail) {
  if (text == "kill") return Action::kKill;
  return text == "error" && can_fail ? Action::kError : Action::kNone;
}

// Zero: it is no number.
uint64_t ParseTurn(std::string_view text) {
  uint64_t turn = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), turn);
  return problem == std::errc() && end == text.data() + text.size() ? turn : 0;
}

bool Arm(std::string_view words) {
  const size_t colon = words.find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view name = words.substr(0, colon);
  uint64_t turn = 1;
  if (const size_t at = name.find('@'); at != std::string_view::npos) {
    turn = ParseTurn(name.substr(at + 1));
    name = name.substr(0, at);
  }
  for (const FailPointEntry& entry : kFailPoints) {
    if (entry.name != name) continue;
    Arming& arming = armings[static_cast<size_t>(entry.point)];
    arming.turn = turn;
    arming.action = ParseAction(words.substr(colon + 1), entry.can_fail);
    return turn > 0 && arming.action != Action::kNone;
  }
  return false;
}

constexpr bool IsInOrder() {
  for (size_t i = 0; i < kFailPoints.size(); ++i) {
    if (static_cast<size_t>(kFailPoints[i].point) != i) return false;
  }
  return true;
}
static_assert(IsInOrder(), "the table is in the order of the enumeration");

}  // namespace

void ArmFailPoints() {
  const char* value = std::getenv(kVariable);
  std::string_view rest = value == nullptr ? "" : value;
  while (!rest.empty()) {
    const std::string_view words = rest.substr(0, rest.find(','));
    if (!Arm(words)) Refuse(words);
    rest.remove_prefix(std::min(rest.size(), words.size() + 1));
  }
}

void ReachFailPoint(FailPoint point) { CheckFailPoint(point).IgnoreError(); }

absl::Status CheckFailPoint(FailPoint point) {
  Arming& arming = armings[static_cast<size_t>(point)];
  if (arming.action == Action::kNone) return absl::OkStatus();
  if (arming.reached.fetch_add(1) + 1 != arming.turn) return absl::OkStatus();
  if (arming.action == Action::kKill) ::raise(SIGKILL);
  return absl::ResourceExhaustedError(
      fmt::format("fail point {}", kFailPoints[static_cast<size_t>(point)].name));
}

}  // namespace fedtune

#endif
