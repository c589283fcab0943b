// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fedtune {

// Threads of LibTorch's OpenMP runtime that wait for each other spin for long, by
// default: beside other busy processes, the one that is waited for does not get
// its core, and training becomes many times slower. Threads that never spin make
// training alone twice as slow on small models. A program calls this first in
// main(), so that they spin as briefly as costs little alone.
//
// The runtime reads its environment when it is loaded, before main(): without
// OMP_WAIT_POLICY or GOMP_SPINCOUNT, which are left as they are, this starts the
// program again (same process, same arguments) with a GOMP_SPINCOUNT. Where that is
// not possible it returns, and threads spin for long.
void SpinBriefly(char** argv);

// `environment` with a GOMP_SPINCOUNT; none if it says itself how threads wait.
std::optional<std::vector<std::string>> WithBriefSpinning(std::vector<std::string> environment);

}  // namespace fedtune
