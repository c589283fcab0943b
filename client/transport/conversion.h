// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "privacy/audit/log_proof.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// Between the protocol's messages and ours.

// INVALID_ARGUMENT: not an instruction, or a field out of range (says which).
absl::StatusOr<Instruction> InstructionFromProto(const v1::CoordinatorMessage& message);

Welcome WelcomeFromProto(const v1::Welcome& message);

v1::ClientMessage GreetingToProto(const Greeting& greeting);
v1::ClientMessage ReplyToProto(const Reply& reply);

// The head of `contribution`, with the digest of its values.
v1::ContributionHeader HeaderToProto(const Contribution& contribution);
v1::ContributionHeader HeaderToProto(const MaskedContribution& contribution);

v1::ProveLogRequest QuestionToProto(const LogQuestion& question);

// Nothing of it is verified. INVALID_ARGUMENT: a field is too long, or no hash (says which).
absl::StatusOr<LogProof> LogProofFromProto(const v1::ProveLogResponse& message);

}  // namespace fedtune
