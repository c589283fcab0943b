// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "model/checkpoint/safetensors.h"

// Whatever the bytes, tensors lie inside them and cover them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  const auto content = fedtune::ParseSafetensors(file, "fuzz");
  if (!content.ok()) return 0;
  const std::byte* end = nullptr;
  for (const fedtune::TensorView& tensor : content->tensors) {
    fedtune::Check(end == nullptr || tensor.bytes.data() == end, "tensors adjoin");
    end = tensor.bytes.data() + tensor.bytes.size();
    fedtune::Check(tensor.bytes.data() >= file.data() && end <= file.data() + size, "inside");
  }
  fedtune::Check(end == nullptr || end == file.data() + size, "covered");
  return 0;
}
