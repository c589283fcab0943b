// SPDX-License-Identifier: Apache-2.0

#include "base/clock.h"
#include "ca/authority_program.h"

int main(int argc, char** argv) {
  const fedtune::SystemClock clock;
  return fedtune::RunAuthorityProgram(argc, argv, clock);
}
