// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/token_table.h"

#include <utility>

#include "fmt/format.h"

namespace fedtune {

absl::Status TokenTable::Add(std::string token, int64_t id) {
  if (id < 0 || id >= kMaxTokenIds) {
    return absl::InvalidArgumentError(fmt::format(
        "token \"{}\" has id {}; ids lie between 0 and {}", token, id, kMaxTokenIds - 1));
  }
  if (const std::optional<std::string_view> other = Token(id)) {
    return absl::InvalidArgumentError(
        fmt::format("tokens \"{}\" and \"{}\" have the same id {}", *other, token, id));
  }
  if (!ids_.try_emplace(token, static_cast<int32_t>(id)).second) {
    return absl::InvalidArgumentError(
        fmt::format("token \"{}\" has two ids, {} and {}", token, *Find(token), id));
  }
  const auto index = static_cast<size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  tokens_[index] = std::move(token);
  return absl::OkStatus();
}

std::optional<int32_t> TokenTable::Find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> TokenTable::Token(int64_t id) const {
  if (id < 0 || id >= id_end()) return std::nullopt;
  return tokens_[static_cast<size_t>(id)];
}

}  // namespace fedtune
