// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/parallel.h"

#include <algorithm>
#include <atomic>

#include "ATen/Parallel.h"

// The OpenMP runtime's own interface, which GCC calls for `#pragma omp parallel`.
// LibTorch's wheel brings its runtime along, and compiling with -fopenmp would
// mean another one under clang.
extern "C" void GOMP_parallel(void (*function)(void*), void* data, unsigned threads,
                              unsigned flags);

namespace fedtune {
namespace {

struct Work {
  int64_t tasks;
  const std::function<void(int64_t)>& function;
  std::atomic<int64_t> next = 0;
};

void DoTasks(void* data) {
  Work& work = *static_cast<Work*>(data);
  for (int64_t task = work.next++; task < work.tasks; task = work.next++) work.function(task);
}

}  // namespace

void InParallel(int64_t tasks, const std::function<void(int64_t task)>& function) {
  Work work = {.tasks = tasks, .function = function};
  const auto threads = static_cast<unsigned>(std::min<int64_t>(tasks, at::get_num_threads()));
  if (threads < 2 || at::in_parallel_region()) {
    DoTasks(&work);
  } else {
    GOMP_parallel(DoTasks, &work, threads, /*flags=*/0);
  }
}

}  // namespace fedtune
