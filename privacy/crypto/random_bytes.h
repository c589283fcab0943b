// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fedtune {

// `count` bytes that nobody can predict. Thread-safe.
std::vector<uint8_t> RandomBytes(size_t count);

}  // namespace fedtune
