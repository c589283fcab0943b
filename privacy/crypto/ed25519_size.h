// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>

namespace fedtune {

// Of a public key, and of a private one (RFC 8032).
inline constexpr size_t kEd25519Size = 32;

}  // namespace fedtune
