// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/rounds/names.h"

namespace fedtune {

// The numbers by which the sessions of a secure run know its institutions: their places on the
// signing roster. Immutable and thread-safe.
class SessionNumbers {
 public:
  explicit SessionNumbers(std::map<Institution, uint32_t> numbers);

  // None: it is not on the roster.
  std::optional<uint32_t> Of(const Institution& institution) const;

  // Null: nobody has it.
  const Institution* InstitutionWith(uint32_t number) const;

  // A session's text, which says "number 17", with names.
  std::string WithNames(std::string_view text) const;

 private:
  std::map<Institution, uint32_t> numbers_;
  std::map<uint32_t, Institution> institutions_;
};

}  // namespace fedtune
