// SPDX-License-Identifier: Apache-2.0

// The optimiser's state is read back from the coordinator's store.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aggregation/server_optimizer.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto head = fedtune::ReadOptimizerStateHead(bytes, 2);
  if (!head.ok()) return 0;
  fedtune::Check(bytes.starts_with(head->ToBytes()), "one state has one text");
  fedtune::Check(head->stored_bytes() == size, "all of it is there");
  return 0;
}
