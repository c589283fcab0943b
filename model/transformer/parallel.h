// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>

namespace fedtune {

// Calls work(0) to work(tasks - 1), each once, on LibTorch's threads, as many as
// at::set_num_threads() says; tasks begin in their order. Which thread does which
// task differs from call to call, so no result may depend on it. `work` must not
// throw.
void InParallel(int64_t tasks, const std::function<void(int64_t task)>& work);

}  // namespace fedtune
