// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fedtune {

// When a training computes activations a second time for its derivative, rather than
// keep them: it then takes less memory and more time, and its result has the same bits.
enum class Recompute : uint8_t {
  kAuto,    // In as many layers as it takes to fit into memory.
  kNever,   // In none.
  kAlways,  // In all.
};

// "auto", "never" or "always"; none for other names.
inline std::optional<Recompute> RecomputeFromName(std::string_view name) {
  if (name == "auto") return Recompute::kAuto;
  if (name == "never") return Recompute::kNever;
  if (name == "always") return Recompute::kAlways;
  return std::nullopt;
}

}  // namespace fedtune
