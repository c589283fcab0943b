// SPDX-License-Identifier: Apache-2.0

// A round's journal is read back from the coordinator's store.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "coordinator/rounds/round_journal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto entry = fedtune::JournalEntryFromBytes({reinterpret_cast<const char*>(data), size});
  if (!entry.ok()) return 0;
  const std::string bytes = fedtune::ToBytes(*entry);
  const auto again = fedtune::JournalEntryFromBytes(bytes);
  fedtune::Check(again.ok() && fedtune::ToBytes(*again) == bytes, "an entry is read back");
  return 0;
}
