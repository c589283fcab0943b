// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/expert_name.h"

#include <charconv>

namespace fedtune {

std::optional<ExpertName> ExpertName::Parse(std::string_view module) {
  constexpr std::string_view kMarker = ".experts.";
  const size_t marker = module.rfind(kMarker);
  if (marker == std::string_view::npos) return std::nullopt;
  const std::string_view rest = module.substr(marker + kMarker.size());
  int64_t index = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
  const std::string_view projection = rest.substr(static_cast<size_t>(end - rest.data()));
  const bool known =
      projection == ".gate_proj" || projection == ".up_proj" || projection == ".down_proj";
  if (error != std::errc() || index < 0 || !known) return std::nullopt;
  return ExpertName{.experts = std::string(module.substr(0, marker + kMarker.size() - 1)),
                    .index = index,
                    .projection = std::string(projection.substr(1))};
}

}  // namespace fedtune
