// SPDX-License-Identifier: Apache-2.0

// What the coordinator says in a session, and of its log, as a client reads it.

#include <cstddef>
#include <cstdint>
#include <variant>

#include "base/check.h"
#include "client/transport/conversion.h"
#include "privacy/secure_aggregation/messages.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace {

using fedtune::Check;

void ReadLogProof(const uint8_t* data, size_t size) {
  fedtune::v1::ProveLogResponse message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return;
  const auto proof = fedtune::LogProofFromProto(message);
  if (!proof.ok()) return;
  Check(proof->entry.size() <= fedtune::kLongestLogEntry, "size of the entry");
  Check(proof->consistency.size() == static_cast<size_t>(message.consistency_size()), "hashes");
  Check(proof->inclusion.size() == static_cast<size_t>(message.inclusion_size()), "hashes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ReadLogProof(data, size);
  fedtune::v1::CoordinatorMessage message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  (void)fedtune::WelcomeFromProto(message.welcome());
  const auto instruction = fedtune::InstructionFromProto(message);
  if (!instruction.ok()) return 0;
  if (const auto* assignment = std::get_if<fedtune::Assignment>(&*instruction)) {
    Check(assignment->id.round >= 0 && assignment->id.attempt >= 1, "round and attempt");
    const auto factors = static_cast<int>(assignment->factors);
    Check(factors >= 1 && factors <= 3, "factors");
  }
  if (const auto* secure = std::get_if<fedtune::SecureMessage>(&*instruction)) {
    Check(secure->id.round >= 0 && secure->id.attempt >= 1, "round and attempt");
    Check(!secure->message.empty() && secure->message.size() <= fedtune::kLargestMessage, "size");
  }
  return 0;
}
