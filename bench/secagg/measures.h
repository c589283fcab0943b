// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>

#include "privacy/secure_aggregation/ring.h"

namespace fedtune::bench {

// The size of what is measured.
struct SecaggCase {
  size_t elements = 25'000'000;
  int clients = 100;
  int neighbors = 20;
  double dropped_share = 0.1;
  int threshold = 67;
  int threads = 2;

  int dropped() const { return static_cast<int>(clients * dropped_share); }
  int survivors() const { return clients - dropped(); }

  // What is left on a sum: a mask of each survivor, and one for each pair of a
  // dropped client with a neighbour that survived. A neighbour survives as often
  // as any other client.
  int masks_to_remove() const {
    return survivors() + dropped() * neighbors * survivors() / clients;
  }
};

// Seconds of one core for `masks` masks over all elements, chunk by chunk, as a
// client does it.
double MaskSeconds(const SecaggCase& size, RingBits ring, int masks);

// Seconds for the masks that are left on a sum.
double UnmaskSeconds(const SecaggCase& size);

// Seconds to share one secret among all clients and to rebuild it, with nothing
// computed before.
double ShamirSeconds(const SecaggCase& size);

// Bytes of one client's masked vector on the wire, packed by PackRing().
size_t WireBytes(const SecaggCase& size, RingBits ring);

}  // namespace fedtune::bench
