// SPDX-License-Identifier: Apache-2.0

#include <sys/prctl.h>

#include "base/clock.h"
#include "ca/authority_program.h"

int main(int argc, char** argv) {
  ::prctl(PR_SET_DUMPABLE, 0);  // No core file may hold the authority's key.
  const fedtune::SystemClock clock;
  return fedtune::RunAuthorityProgram(argc, argv, clock);
}
