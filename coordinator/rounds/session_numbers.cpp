// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/session_numbers.h"

#include <charconv>
#include <system_error>
#include <utility>

namespace fedtune {

SessionNumbers::SessionNumbers(std::map<Institution, uint32_t> numbers)
    : numbers_(std::move(numbers)) {
  for (const auto& [institution, number] : numbers_) institutions_.emplace(number, institution);
}

std::optional<uint32_t> SessionNumbers::Of(const Institution& institution) const {
  const auto found = numbers_.find(institution);
  return found == numbers_.end() ? std::nullopt : std::optional(found->second);
}

const Institution* SessionNumbers::InstitutionWith(uint32_t number) const {
  const auto found = institutions_.find(number);
  return found == institutions_.end() ? nullptr : &found->second;
}

std::string SessionNumbers::WithNames(std::string_view text) const {
  constexpr std::string_view kNumber = "number ";
  std::string named;
  for (size_t at = text.find(kNumber); at != std::string_view::npos; at = text.find(kNumber)) {
    const char* digits = text.data() + at + kNumber.size();
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(digits, text.data() + text.size(), number);
    const Institution* institution = error == std::errc() ? InstitutionWith(number) : nullptr;
    const size_t next = static_cast<size_t>(end - text.data());
    named += text.substr(0, at);
    named += institution == nullptr ? text.substr(at, next - at) : institution->value;
    text.remove_prefix(next);
  }
  return named.append(text);
}

}  // namespace fedtune
