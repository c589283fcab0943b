// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_modules.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/name_pattern.h"
#include "model/checkpoint/pattern_index.h"

namespace fedtune {
namespace {

// Of this thread, so that a busy machine changes nothing.
absl::Duration ProcessorTime() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

// Ends matching that takes too long.
class MatchingEnd {
 public:
  explicit MatchingEnd(MatchingTime time) : time_(time), end_(ProcessorTime() + time.most) {}

  // `key`: of the patterns that are being matched.
  absl::Status Check(std::string_view key, size_t patterns, size_t layers) const {
    if (ProcessorTime() <= end_) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "{}: matching its {} pattern{} to the {} layers that are trained takes more than {} of "
        "processor time; use fewer expressions, or simpler ones: plain names take none",
        key, patterns, patterns == 1 ? "" : "s", layers, absl::FormatDuration(time_.most)));
  }

 private:
  const MatchingTime time_;
  const absl::Duration end_;
};

// What a table of the plan says of each layer.
template <typename T>
class Table {
 public:
  static absl::StatusOr<Table> Create(std::string_view key,
                                      const std::vector<std::pair<std::string, T>>& texts) {
    Table table(key);
    for (const auto& [text, value] : texts) {
      ASSIGN_OR_RETURN(NamePattern pattern, NamePattern::Create(text));
      table.patterns_.Add(std::move(pattern), value);
    }
    return table;
  }

  // One for each layer; nothing where no pattern matches. Errors as ModulesOf().
  absl::StatusOr<std::vector<std::optional<T>>> ValuesOf(std::span<const LinearLayer* const> layers,
                                                         const MatchingEnd& end) const {
    std::vector<std::optional<T>> values(layers.size());
    if (patterns_.all().empty()) return values;
    for (size_t i = 0; i < layers.size(); ++i) {
      values[i] = patterns_.First(layers[i]->name);
      RETURN_IF_ERROR(end.Check(key_, patterns_.all().size(), layers.size()));
    }
    RETURN_IF_ERROR(CheckAllMatch(layers, end));
    return values;
  }

 private:
  explicit Table(std::string_view key) : key_(key) {}

  // A pattern without a layer is a misspelt one.
  absl::Status CheckAllMatch(std::span<const LinearLayer* const> layers,
                             const MatchingEnd& end) const {
    for (const auto& [pattern, value] : patterns_.all()) {
      ASSIGN_OR_RETURN(const bool matches, MatchesAny(pattern, layers, end));
      if (matches) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: \"{}\" matches none of the {} layers that are trained, such as {}", key_,
                      pattern.text(), layers.size(), layers.front()->name));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> MatchesAny(const NamePattern& pattern,
                                  std::span<const LinearLayer* const> layers,
                                  const MatchingEnd& end) const {
    constexpr size_t kBetweenLooks = 64;  // Looking at the time takes some, too.
    for (size_t i = 0; i < layers.size(); ++i) {
      if (pattern.Matches(layers[i]->name)) return true;
      if (i % kBetweenLooks > 0) continue;
      RETURN_IF_ERROR(end.Check(key_, patterns_.all().size(), layers.size()));
    }
    return false;
  }

  std::string_view key_;
  NamePatterns<T> patterns_;
};

// Of a layer that no pattern names.
int64_t UsualRank(const LinearLayer& layer, const AdapterPlan& adapter, int64_t experts_per_token) {
  if (layer.kind != LayerKind::kRoutedExpert) return adapter.rank;
  if (adapter.routed_rank > 0) return adapter.routed_rank;
  return std::max<int64_t>(1, adapter.rank / std::max<int64_t>(1, experts_per_token));
}

}  // namespace

absl::StatusOr<std::vector<AdapterModule>> ModulesOf(std::span<const LinearLayer* const> layers,
                                                     const AdapterPlan& adapter,
                                                     int64_t experts_per_token, MatchingTime time) {
  const MatchingEnd end(time);
  ASSIGN_OR_RETURN(const auto rank_table,
                   Table<int64_t>::Create("rank_pattern", adapter.rank_pattern));
  ASSIGN_OR_RETURN(const auto alpha_table,
                   Table<double>::Create("alpha_pattern", adapter.alpha_pattern));
  ASSIGN_OR_RETURN(const auto ranks, rank_table.ValuesOf(layers, end));
  ASSIGN_OR_RETURN(const auto alphas, alpha_table.ValuesOf(layers, end));
  std::vector<AdapterModule> modules;
  modules.reserve(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const LinearLayer& layer = *layers[i];
    AdapterModule& module = modules.emplace_back(
        AdapterModule{.name = layer.name,
                      .in_features = layer.in_features,
                      .out_features = layer.out_features,
                      .lora_rank = ranks[i].value_or(UsualRank(layer, adapter, experts_per_token)),
                      .alpha = alphas[i].value_or(adapter.alpha)});
    const auto own = static_cast<double>(module.lora_rank);
    if (ranks[i] || alphas[i]) {
      if (adapter.rslora) module.alpha *= std::sqrt(own);
      continue;
    }
    const auto usual = static_cast<double>(adapter.rank);
    module.alpha = module.alpha * own / (adapter.rslora ? std::sqrt(usual) : usual);
  }
  return modules;
}

}  // namespace fedtune
