// SPDX-License-Identifier: Apache-2.0

#pragma once

// The vector instructions of x86 CPUs, nothing on others. Functions that use them name
// them in an attribute, and are called on CPUs that have them alone.

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own headers, inlined.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif
