// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/neighbor_graph.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {
namespace {

// Public numbers that follow from a seed: SHA-256 in counter mode.
class SeededNumbers {
 public:
  explicit SeededNumbers(const Digest& seed) : seed_(seed) {}

  // Uniform in [0, below): what would favour small numbers is passed over.
  uint64_t Below(uint64_t below) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % below;
    while (true) {
      const uint64_t value = Next();
      if (value < limit) return value % below;
    }
  }

 private:
  uint64_t Next() {
    if (used_ == 4) {
      CanonicalWriter writer;
      writer.Sized("ffl/v1/graph").Fixed(seed_).U64(counter_++);
      block_ = Sha256Of(ByteSpan(writer.bytes()));
      used_ = 0;
    }
    uint64_t value = 0;
    std::memcpy(&value, block_.bytes.data() + 8 * used_++, sizeof(value));
    return value;
  }

  Digest seed_;
  Digest block_;
  size_t used_ = 4;
  uint64_t counter_ = 0;
};

}  // namespace

NeighborGraph NeighborGraph::Complete(int clients) {
  Check(clients >= 1, "a graph has clients");
  std::vector<int> everyone(static_cast<size_t>(clients));
  std::iota(everyone.begin(), everyone.end(), 0);
  return {clients - 1, std::vector<std::vector<int>>(everyone.size(), everyone)};
}

NeighborGraph NeighborGraph::Harary(int clients, int degree, const Digest& seed) {
  Check(degree >= 2 && degree % 2 == 0 && degree < clients, "the degree is even and fits");
  std::vector<int> ring(static_cast<size_t>(clients));
  std::iota(ring.begin(), ring.end(), 0);
  SeededNumbers numbers(seed);
  for (size_t i = ring.size() - 1; i > 0; --i) {  // Fisher and Yates.
    std::swap(ring[i], ring[numbers.Below(i + 1)]);
  }
  std::vector<size_t> places(ring.size());
  for (size_t at = 0; at < ring.size(); ++at) places[static_cast<size_t>(ring[at])] = at;
  std::vector<std::vector<int>> neighborhoods(ring.size());
  for (auto& neighborhood : neighborhoods) neighborhood.reserve(static_cast<size_t>(degree) + 1);
  // Clients enter their neighbours' lists in their order, which sorts these.
  for (int client = 0; client < clients; ++client) {
    const size_t first = places[static_cast<size_t>(client)] + ring.size();
    for (int step = -degree / 2; step <= degree / 2; ++step) {
      const int other = ring[(first + static_cast<size_t>(step)) % ring.size()];
      neighborhoods[static_cast<size_t>(other)].push_back(client);
    }
  }
  return {degree, std::move(neighborhoods)};
}

}  // namespace fedtune
