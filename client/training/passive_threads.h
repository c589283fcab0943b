// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fedtune {

// Threads of LibTorch's OpenMP runtime that wait for each other spin, by default:
// beside another busy process, each such wait may cost what is left of the
// other's time slice, and training becomes many times slower. A program calls
// this first in main(), so that they sleep instead.
//
// The runtime reads its environment when it is loaded, before main(): without
// OMP_WAIT_POLICY or GOMP_SPINCOUNT, which are left as they are, this starts the
// program again (same process, same arguments) with OMP_WAIT_POLICY=passive. Where
// that is not possible it returns, and threads spin.
void WaitWithoutSpinning(char** argv);

// `environment` with OMP_WAIT_POLICY=passive; none if it says itself how threads
// wait.
std::optional<std::vector<std::string>> WithPassiveWaiting(std::vector<std::string> environment);

}  // namespace fedtune
