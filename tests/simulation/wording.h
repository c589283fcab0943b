// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "proto/fedtune/v1/training.pb.h"

namespace fedtune::simulation {

// A message in a few words, for the trace.
std::string InWords(const v1::CoordinatorMessage& message);
std::string InWords(const v1::ClientMessage& message);

}  // namespace fedtune::simulation
