// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

namespace fedtune {

// Token ids are below this: four times the largest vocabulary in use.
inline constexpr int64_t kMaxTokenIds = 1 << 20;

// Lets a map with std::string keys be searched with a std::string_view.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <typename Value>
using TextMap = absl::flat_hash_map<std::string, Value, TextHash, std::equal_to<>>;

// Tokens and their ids, one to one. Ids may leave holes.
class TokenTable {
 public:
  // INVALID_ARGUMENT: the id is negative or too large, or the token or the id
  // is taken; the message does not say where.
  absl::Status Add(std::string token, int64_t id);

  std::optional<int32_t> Find(std::string_view token) const;

  // The token with this id; nothing in a hole and outside.
  std::optional<std::string_view> Token(int64_t id) const;

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }

  // The highest id and one.
  int32_t id_end() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  TextMap<int32_t> ids_;
  std::vector<std::optional<std::string>> tokens_;  // By id.
};

}  // namespace fedtune
