// SPDX-License-Identifier: Apache-2.0

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/template_functions.h"

namespace fedtune {
namespace {

// Nothing where there is no such test without an argument.
std::optional<bool> TestAlone(const TemplateValue& target, std::string_view name) {
  const bool* const boolean = target.As<bool>();
  const bool is_number = target.As<int64_t>() != nullptr;
  const bool is_object = target.object() != nullptr && !target.is_namespace();
  const bool is_row = target.text() != nullptr || target.list() != nullptr;
  if (name == "defined") return !target.is_undefined();
  if (name == "undefined") return target.is_undefined();
  if (name == "none") return target.is_none();
  if (name == "string") return target.text() != nullptr;
  if (name == "mapping") return is_object;
  if (name == "boolean") return boolean != nullptr;
  if (name == "true") return boolean != nullptr && *boolean;
  if (name == "false") return boolean != nullptr && !*boolean;
  if (name == "number") return is_number || boolean != nullptr;
  if (name == "integer") return is_number;
  if (name == "sequence" || name == "iterable") {
    return is_row || is_object || target.is_undefined();
  }
  return std::nullopt;
}

absl::StatusOr<bool> Holds(std::string_view sign, const TemplateValue& left,
                           const TemplateValue& right) {
  ASSIGN_OR_RETURN(const TemplateValue value, Combine(sign, left, right));
  return IsTrue(value);
}

// Whether it leaves `rest`.
absl::StatusOr<bool> Leaves(const TemplateValue& target, int64_t divisor, int64_t rest) {
  ASSIGN_OR_RETURN(const TemplateValue left, Combine("%", target, TemplateValue{divisor}));
  return AreEqual(left, TemplateValue{rest});
}

}  // namespace

absl::StatusOr<bool> Test(const TemplateValue& target, std::string_view name,
                          const TemplateArguments& arguments) {
  const std::vector<TemplateValue>& values = arguments.values;
  if (values.empty()) {
    if (const std::optional<bool> holds = TestAlone(target, name)) return *holds;
    if (name == "odd" || name == "even") return Leaves(target, 2, name == "odd" ? 1 : 0);
  } else if (values.size() == 1) {
    if (name == "equalto" || name == "eq") return AreEqual(target, values[0]);
    if (name == "ne") return !AreEqual(target, values[0]);
    if (name == "in") return Holds("in", target, values[0]);
    const int64_t* const divisor = values[0].As<int64_t>();
    if (name == "divisibleby" && divisor != nullptr) return Leaves(target, *divisor, 0);
  }
  return absl::InvalidArgumentError(
      fmt::format("test \"{}\" is not supported with these values", name));
}

}  // namespace fedtune
