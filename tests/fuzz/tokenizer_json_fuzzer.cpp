// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/tokenizer/tokenizer.h"

// A tokenizer file is refused with a reason or makes a usable tokenizer.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = fedtune::Tokenizer::FromJson(json, "input");
  if (!tokenizer.ok()) return 0;
  const auto ids = tokenizer->Encode("Ab 12\n<x> \u00E4a");
  if (ids.ok()) tokenizer->Decode(*ids, /*skip_special=*/true);
  return 0;
}
