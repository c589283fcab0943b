// SPDX-License-Identifier: Apache-2.0

#include "plan/plan_fields.h"

namespace fedtune {

namespace {

// A value that is refused does not reach the field, so that what is worked out from
// a section with mistakes in it stays in the ranges, too.
template <typename T, typename IsValid>
void ReadValid(TomlSection& section, std::string_view key, T& field, IsValid is_valid,
               std::string_view problem) {
  T value = field;
  section.Optional(key, value);
  if (!section.Has(key)) return;
  if (!is_valid(value)) return section.Reject(key, problem);
  field = value;
}

}  // namespace

void ReadWhole(TomlSection& section, std::string_view key, int64_t& field,
               const WholeRange& range) {
  // Said once, and not by the range, too, in which no value may be the default.
  if (section.Has(key) && !section.IsInteger(key)) return section.Optional(key, field);
  ReadValid(
      section, key, field,
      [&](int64_t value) { return value >= range.least && value <= range.most; },
      fmt::format("must be from {} to {}{}{}", range.least, range.most,
                  range.why.empty() ? "" : ": ", range.why));
}

void ReadPositive(TomlSection& section, std::string_view key, double& field, double most) {
  ReadValid(
      section, key, field, [&](double value) { return value > 0 && value <= most; },
      fmt::format("must be above 0 and at most {}", most));
}

void ReadShare(TomlSection& section, std::string_view key, double& field, One one) {
  const bool with_one = one == One::kIncluded;
  ReadValid(
      section, key, field,
      [&](double value) { return value >= 0 && (value < 1 || (with_one && value == 1)); },
      with_one ? "must be from 0 to 1" : "must be at least 0 and below 1");
}

void ReadDuration(TomlSection& section, std::string_view key, absl::Duration& field,
                  const DurationRange& range) {
  constexpr std::string_view kExamples = "\"6h\", \"1h30m\" or \"90s\"";
  if (section.IsInteger(key)) {
    int64_t number = 0;
    section.Optional(key, number);
    return section.Reject(key, fmt::format("must be a time in quotes with its unit, such as {}; "
                                           "for {} seconds write \"{}s\"",
                                           kExamples, number, number));
  }
  std::string text;
  section.Optional(key, text);
  if (!section.IsString(key)) return;
  absl::Duration parsed;
  if (!absl::ParseDuration({text.data(), text.size()}, &parsed)) {
    section.Reject(key, fmt::format("must be a time such as {}", kExamples));
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
