// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace fedtune {

// For each reader of PEM, as its callback: without one OpenSSL asks whoever sits at the
// terminal for the pass phrase of a block that says it is encrypted, and waits.
inline int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace fedtune
