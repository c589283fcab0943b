// SPDX-License-Identifier: Apache-2.0

// Prints a small audit log with everything that is proven of it, for test_audit_log.py.

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "base/command_line.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_tree.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/signing_coordinator.h"

namespace fedtune {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kEntries = 40;
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

std::string Entry(uint64_t index) {
  const absl::Time at = kNow + absl::Milliseconds(1) * index;
  if (index == 0) return WriteLogEntry({.at = at, .event = LogBegun{.id = "9f86d081884c7d65"}});
  return WriteLogEntry({.at = at,
                        .event = RoundOpened{.run = "run-7f3a",
                                             .round = static_cast<int64_t>(index) - 1,
                                             .attempt = 1,
                                             .adapter = Sha256Of(std::to_string(index))}});
}

Json Hex(const std::vector<Digest>& hashes) {
  Json list = Json::array();
  for (const Digest& hash : hashes) list.push_back(hash.ToHex());
  return list;
}

// The proofs of every entry and of every earlier size.
absl::StatusOr<Json> ProofsAt(const SubtreeHashes& log, uint64_t size) {
  Json inclusion = Json::array();
  for (uint64_t index = 0; index < size; ++index) {
    ASSIGN_OR_RETURN(const std::vector<Digest> proof, LogInclusionProof(log, index, size));
    inclusion.push_back(Hex(proof));
  }
  Json consistency = Json::array();
  for (uint64_t old = 0; old <= size; ++old) {
    ASSIGN_OR_RETURN(const std::vector<Digest> proof, LogConsistencyProof(log, old, size));
    consistency.push_back(Hex(proof));
  }
  ASSIGN_OR_RETURN(const Digest root, LogRoot(log, size));
  return Json{{"root", root.ToHex()},
              {"inclusion", std::move(inclusion)},
              {"consistency", std::move(consistency)}};
}

absl::Status PrintSample() {
  LogSubtrees log;
  Json sample = {{"entries", Json::array()}, {"sizes", Json::array()}};
  for (uint64_t index = 0; index < kEntries; ++index) {
    const std::string entry = Entry(index);
    log.Append(MerkleLeaf(SpanOf(entry)));
    sample["entries"].push_back(entry);
  }
  for (uint64_t size = 0; size <= kEntries; ++size) {
    ASSIGN_OR_RETURN(sample["sizes"].emplace_back(), ProofsAt(log, size));
  }
  const CertificateAuthority authority =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
  const testing::SigningCoordinator hub(authority, kNow);
  ASSIGN_OR_RETURN(const Digest root, LogRoot(log, kEntries));
  sample["note"] = hub.Sign({.federation = "north", .head = {kEntries, root}}).note;
  sample["certificate"] = hub.certificate_pem();
  sample["authority"] = authority.ToPem();
  const SecretBytes key = hub.key().ToPem();
  sample["key"] = std::string(key.Reveal().begin(), key.Reveal().end());
  std::cout << JsonLine(sample);
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  fedtune::CommandLine line({"audit_log_sample",
                             "Prints a small audit log with everything that is proven of it.",
                             {"audit_log_sample"}});
  line.SetAction([] { return fedtune::PrintSample(); });
  return line.Run(argc, argv);
}
