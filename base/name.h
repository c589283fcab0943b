// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <compare>
#include <string>
#include <utility>

namespace fedtune {

// A textual identifier of one kind of thing. Names of different kinds do not
// convert into each other, so a run cannot be passed where an institution is
// expected.
template <typename Kind>
struct Name {
  std::string value;

  friend auto operator<=>(const Name&, const Name&) = default;

  template <typename H>
  friend H AbslHashValue(H hash, const Name& name) {
    return H::combine(std::move(hash), name.value);
  }
};

}  // namespace fedtune
