// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <vector>

#include "privacy/crypto/sha256.h"

namespace fedtune {

// Who shares secrets and masks with whom, among clients 0 to n - 1. Every client
// has as many neighbours. Immutable.
class NeighborGraph {
 public:
  // Everyone with everyone.
  static NeighborGraph Complete(int clients);

  // A Harary graph (Bell et al., CCS 2020): clients stand in a ring, in an order
  // drawn from `seed`, and each is a neighbour of the degree / 2 next ones on
  // either side. Requires: degree is even and below `clients`.
  static NeighborGraph Harary(int clients, int degree, const Digest& seed);

  int client_count() const { return static_cast<int>(neighborhoods_.size()); }
  int degree() const { return degree_; }

  // The client and its neighbours, ascending. The point of a client's share is 1
  // and its place in the owner's closed neighbourhood.
  std::span<const int> ClosedNeighborhood(int client) const {
    return neighborhoods_[static_cast<size_t>(client)];
  }

 private:
  NeighborGraph(int degree, std::vector<std::vector<int>> neighborhoods)
      : degree_(degree), neighborhoods_(std::move(neighborhoods)) {}

  int degree_;
  std::vector<std::vector<int>> neighborhoods_;
};

}  // namespace fedtune
