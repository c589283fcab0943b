// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/weights_index.h"

#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

absl::StatusOr<WeightMap> ParseWeightsIndex(std::string_view json, std::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseJson(json, source));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: has no weight_map; is it a checkpoint's index?", source));
  }
  WeightMap weights;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} is not assigned to a file name", source, tensor));
    }
    weights.emplace(tensor, file.get<std::string>());
  }
  return weights;
}

}  // namespace fedtune
