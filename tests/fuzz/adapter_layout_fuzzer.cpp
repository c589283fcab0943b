// SPDX-License-Identifier: Apache-2.0

// Layouts reach clients from the coordinator. What is read must be written back
// byte for byte, and its tensors must lie one after another.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aggregation/adapter_layout.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto layout = fedtune::AdapterLayout::FromJson(text);
  if (!layout.ok()) return 0;
  Check(layout->ToJson() == text, "one layout has one text");
  int64_t offset = 0;
  for (const fedtune::AdapterTensor& tensor : layout->tensors()) {
    Check(tensor.offset == offset && tensor.size() >= 1, "tensors lie one after another");
    offset += tensor.size();
  }
  Check(offset == layout->parameter_count(), "the tensors are all there is");
  return 0;
}
