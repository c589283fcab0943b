// SPDX-License-Identifier: Apache-2.0

#include "simulation/seeded_random.h"

#include "privacy/crypto/random_bytes.h"
#include "simulation/draws.h"

namespace fedtune {
namespace {

simulation::Draws& Source() {
  static simulation::Draws draws(0);
  return draws;
}

}  // namespace

// In the place of that of privacy/crypto.
std::vector<uint8_t> RandomBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(Source().Next());
  return bytes;
}

void simulation::SeedRandomBytes(uint64_t seed) { Source() = Draws(seed); }

}  // namespace fedtune
