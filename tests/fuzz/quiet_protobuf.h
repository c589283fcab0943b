// SPDX-License-Identifier: Apache-2.0

// For fuzz targets that parse protobuf messages, included once in each: protobuf
// says on standard error what is wrong with each of millions of inputs, and what
// the target itself has to say would be lost in that.

#pragma once

#include "google/protobuf/stubs/logging.h"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}
