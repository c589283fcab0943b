// SPDX-License-Identifier: Apache-2.0

#include "simulation/resident_memory.h"

#include <unistd.h>

#include <fstream>

namespace fedtune::simulation {

int64_t ResidentMemory() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return statm ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace fedtune::simulation
