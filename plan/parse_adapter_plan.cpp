// SPDX-License-Identifier: Apache-2.0

#include "plan/parse_adapter_plan.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "fmt/format.h"
#include "model/checkpoint/name_pattern.h"
#include "plan/plan_fields.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

void ReadTargets(TomlSection& section, std::vector<std::string>& targets) {
  section.Optional("targets", targets);
  if (!section.Has("targets")) return;
  if (targets.empty()) {
    section.Reject("targets", "must name at least one group or layer, such as \"attention\"");
  }
  const std::set<std::string> distinct(targets.begin(), targets.end());
  if (distinct.size() != targets.size()) section.Reject("targets", "names a target twice");
}

void ReadNumbers(TomlSection& section, std::string_view key, std::vector<int64_t>& numbers) {
  section.Optional(key, numbers);
  if (!section.IsArray(key)) return;
  if (numbers.empty()) section.Reject(key, "must name at least one, or be left out for all");
  std::set<int64_t> seen;
  for (const int64_t number : numbers) {
    if (number < 0) {
      section.Reject(key, fmt::format("has {}; numbers count from 0", number));
    } else if (!seen.insert(number).second) {
      section.Reject(key, fmt::format("names {} twice", number));
    }
  }
}

// The patterns of one table, in the order of the file.
template <typename T, typename ReadValue>
void ReadPatterns(TomlSection section, std::vector<std::pair<std::string, T>>& patterns,
                  ReadValue read_value) {
  for (const std::string& pattern : section.KeysInOrder()) {
    if (patterns.size() < kMostPatterns) {
      if (const auto created = NamePattern::Create(pattern); !created.ok()) {
        section.Reject(pattern, fmt::format("cannot be matched: {}", Message(created.status())));
      }
    } else if (patterns.size() == kMostPatterns) {
      section.Reject(pattern, fmt::format("is one pattern too many, {} can be; an expression can "
                                          "stand for many layers",
                                          GroupDigits(kMostPatterns)));
    }
    T value = {};
    read_value(section, pattern, value);
    patterns.emplace_back(pattern, value);
  }
}

}  // namespace

void ReadAdapter(TomlSection section, AdapterPlan& adapter) {
  ReadWhole(section, "rank", adapter.rank, {1, kMaxRank});
  ReadPositive(section, "alpha", adapter.alpha, kMaxAlpha);
  ReadTargets(section, adapter.targets);
  ReadWhole(section, "routed_rank", adapter.routed_rank, {0, kMaxRank});
  ReadNumbers(section, "routed_experts", adapter.routed_experts);
  ReadNumbers(section, "routed_layers", adapter.routed_layers);
  section.Optional("rslora", adapter.rslora);
  ReadShare(section, "dropout", adapter.dropout, One::kExcluded);
  ReadPatterns(section.Section("rank_pattern"), adapter.rank_pattern,
               [](TomlSection& table, std::string_view key, int64_t& rank) {
                 ReadWhole(table, key, rank, {1, kMaxRank});
               });
  ReadPatterns(section.Section("alpha_pattern"), adapter.alpha_pattern,
               [](TomlSection& table, std::string_view key, double& alpha) {
                 ReadPositive(table, key, alpha, kMaxAlpha);
               });
}

}  // namespace fedtune
