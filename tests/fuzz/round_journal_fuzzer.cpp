// SPDX-License-Identifier: Apache-2.0

// A round's journal is read back from the coordinator's store.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "coordinator/rounds/round_journal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // With the digest that it needs.
  std::string given(reinterpret_cast<const char*>(data), size);
  const fedtune::Digest digest = fedtune::Sha256Of(given);
  given.append(digest.bytes.begin(), digest.bytes.end());
  const auto entry = fedtune::JournalEntryFromBytes(given);
  if (!entry.ok()) return 0;
  const std::string bytes = fedtune::ToBytes(*entry);
  const auto again = fedtune::JournalEntryFromBytes(bytes);
  fedtune::Check(again.ok() && fedtune::ToBytes(*again) == bytes, "an entry is read back");
  return 0;
}
