// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>

#include "client/round/messages.h"

namespace fedtune {

// About how much memory a message of the coordinator takes: at least 1 KiB.
size_t BytesOf(const Welcome& welcome);
size_t BytesOf(const Invitation& invitation);
size_t BytesOf(const Instruction& instruction);

}  // namespace fedtune
