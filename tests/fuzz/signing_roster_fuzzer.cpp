// SPDX-License-Identifier: Apache-2.0

// A roster as the coordinator passes it on.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "privacy/identity/roster_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto roster = fedtune::ParseRoster(text);
  if (!roster.ok()) return 0;
  fedtune::Check(fedtune::CheckRoster(roster->content).ok(), "what was read is sound");
  const auto again = fedtune::ParseRoster(fedtune::WriteRoster(*roster));
  fedtune::Check(
      again.ok() && again->content == roster->content && again->signature == roster->signature,
      "what is written is what was read");
  fedtune::Check(fedtune::RosterBytes(again->content) == fedtune::RosterBytes(roster->content),
                 "and is signed alike");
  return 0;
}
