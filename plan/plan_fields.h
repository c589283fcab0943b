// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/toml.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {

// Reads one kind of key each into its field. What is wrong with the key is
// recorded in its document; the field then keeps its value.

struct WholeRange {
  int64_t least;
  int64_t most;
  std::string_view why = {};  // Said of what is outside.
};
void ReadWhole(TomlSection& section, std::string_view key, int64_t& field, const WholeRange& range);

// Above 0 and at most `most`.
void ReadPositive(TomlSection& section, std::string_view key, double& field, double most);

// In [0, 1), or in [0, 1].
enum class One : uint8_t { kExcluded, kIncluded };
void ReadShare(TomlSection& section, std::string_view key, double& field, One one);

struct DurationRange {
  absl::Duration least;
  absl::Duration most;
  std::string_view words;  // "from \"1s\" to \"2h\"".
};
void ReadDuration(TomlSection& section, std::string_view key, absl::Duration& field,
                  const DurationRange& range);

// Refuses settings that would silently have no effect.
void RejectUnused(TomlSection& section, std::initializer_list<std::string_view> keys,
                  std::string_view setting);

// One of a few words.
template <typename T>
void ReadChoice(TomlSection& section, std::string_view key, T& field,
                std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string text;
  section.Optional(key, text);
  if (!section.IsString(key)) return;
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    if (text == name) {
      field = value;
      return;
    }
    names.push_back(fmt::format("\"{}\"", name));
  }
  section.Reject(key, fmt::format("must be {}", fmt::join(names, " or ")));
}

}  // namespace fedtune
