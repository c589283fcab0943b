// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// In the initial metadata of SubmitContribution: a decimal number, see training.proto.
inline constexpr char kReceivedBytes[] = "fedtune-received-bytes";

// Contributions of more bytes are worth the wait for that number.
inline constexpr uint64_t kLargeUpload = uint64_t{4} << 20;

}  // namespace fedtune
