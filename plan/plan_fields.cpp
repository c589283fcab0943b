// SPDX-License-Identifier: Apache-2.0

#include "plan/plan_fields.h"

namespace fedtune {

void ReadWhole(TomlSection& section, std::string_view key, int64_t& field, int64_t least,
               int64_t most) {
  section.Optional(key, field);
  if (!section.Has(key) || (field >= least && field <= most)) return;
  section.Reject(key, fmt::format("must be from {} to {}", least, most));
}

void ReadPositive(TomlSection& section, std::string_view key, double& field, double most) {
  section.Optional(key, field);
  if (!section.Has(key) || (field > 0 && field <= most)) return;
  section.Reject(key, fmt::format("must be above 0 and at most {}", most));
}

void ReadShare(TomlSection& section, std::string_view key, double& field, One one) {
  section.Optional(key, field);
  if (!section.Has(key)) return;
  if (field >= 0 && (field < 1 || (one == One::kIncluded && field == 1))) return;
  section.Reject(key,
                 one == One::kIncluded ? "must be from 0 to 1" : "must be at least 0 and below 1");
}

void ReadDuration(TomlSection& section, std::string_view key, absl::Duration& field,
                  const DurationRange& range) {
  std::string text;
  section.Optional(key, text);
  if (!section.IsString(key)) return;
  absl::Duration parsed;
  if (!absl::ParseDuration({text.data(), text.size()}, &parsed)) {
    section.Reject(key, "must be a time such as \"6h\", \"1h30m\" or \"90s\"");
  } else if (parsed < range.least || parsed > range.most) {
    section.Reject(key, fmt::format("must be {}", range.words));
  } else {
    field = parsed;
  }
}

void RejectUnused(TomlSection& section, std::initializer_list<std::string_view> keys,
                  std::string_view setting) {
  for (const std::string_view key : keys) {
    if (section.Has(key)) section.Reject(key, fmt::format("has no effect with {}", setting));
  }
}

}  // namespace fedtune
