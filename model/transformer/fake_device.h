// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <set>
#include <string>
#include <string_view>

#include "ATen/core/Tensor.h"

namespace fedtune::testing {

// For tests: a device that is not the CPU. LibTorch's spare device type, whose
// operations are the CPU's; it notes what it is asked to do and can be told to do it
// wrongly. Who reads or writes its memory by address, instead of through a tensor,
// crashes. Programs that link this have it from their start. Thread-safe; one for the
// whole process.
class FakeDevice {
 public:
  static at::Device device();

  // What it was asked to compute since the last call, each with the type of the
  // first operand: "aten::mm BFloat16".
  static std::set<std::string> TakeOperations();

  // From now on results of this operation, "aten::mm BFloat16", are wrong; none
  // are for "".
  static void Break(std::string_view operation);
};

}  // namespace fedtune::testing
