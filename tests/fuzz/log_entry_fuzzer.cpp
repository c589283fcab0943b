// SPDX-License-Identifier: Apache-2.0

// An entry of a coordinator's log, as it is sent or lies in a file.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/printable_text.h"
#include "privacy/audit/log_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto entry = fedtune::ParseLogEntry(bytes);
  if (!entry.ok()) return 0;
  fedtune::Check(fedtune::WriteLogEntry(*entry) == bytes, "an entry has one form");
  fedtune::Check(fedtune::PrintableText(bytes) == bytes, "it may be shown as it is");
  const std::string told = fedtune::Describe(entry->event);
  fedtune::Check(fedtune::PrintableText(told) == told, "and so may what is told of it");
  fedtune::Check(told.find(fedtune::RunOf(entry->event)) != std::string::npos, "with its run");
  return 0;
}
