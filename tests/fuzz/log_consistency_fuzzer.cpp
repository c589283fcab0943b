// SPDX-License-Identifier: Apache-2.0

// A proof that a log begins with an earlier one, in canonical bytes: both sizes, hashes. Of
// a log of ours, no proof is accepted but the one that we would give.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "privacy/audit/log_tree.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

using fedtune::Check;
using fedtune::Digest;
using fedtune::LogHead;

namespace {

constexpr uint32_t kMostHashes = 70;
constexpr uint64_t kMostEntries = 40;

const fedtune::LogSubtrees& Log() {
  static const fedtune::LogSubtrees& log = *[] {
    auto* made = new fedtune::LogSubtrees;
    for (size_t i = 0; i < kMostEntries; ++i) {
      made->Append(fedtune::MerkleLeaf(std::vector<uint8_t>(i + 1, 5)));
    }
    return made;
  }();
  return log;
}

// A log that is longer than ours has some root.
LogHead HeadOf(uint64_t size) {
  return {size, *fedtune::LogRoot(Log(), std::min(size, kMostEntries))};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fedtune::CanonicalReader reader({data, size});
  const uint64_t old_size = reader.U64();
  const uint64_t new_size = reader.U64();
  std::vector<Digest> proof(reader.Count(kMostHashes, sizeof(Digest)));
  for (Digest& hash : proof) hash = reader.ReadDigest();
  if (!reader.Finish("proof").ok()) return 0;

  const bool is_accepted =
      fedtune::CheckLogConsistency(HeadOf(old_size), HeadOf(new_size), proof).ok();
  if (old_size > new_size) Check(!is_accepted, "a log does not begin with a longer one");
  if (old_size > new_size || new_size > kMostEntries) return 0;
  const bool is_ours = proof == *fedtune::LogConsistencyProof(Log(), old_size, new_size);
  Check(is_accepted == is_ours, "our own proof is accepted, and no other");
  return 0;
}
