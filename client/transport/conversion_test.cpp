// SPDX-License-Identifier: Apache-2.0

#include "client/transport/conversion.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::IsOk;

v1::CoordinatorMessage GoodAssignment() {
  v1::CoordinatorMessage message;
  v1::RoundAssignment& assignment = *message.mutable_round_assignment();
  assignment.set_run_id("run-1");
  assignment.set_round(2);
  assignment.set_attempt(1);
  assignment.set_adapter_sha256(std::string(32, '\7'));
  assignment.set_factors(2);
  assignment.set_evaluate(true);
  assignment.set_time_left_ms(1500);
  return message;
}

absl::StatusCode CodeOf(const v1::CoordinatorMessage& message) {
  return InstructionFromProto(message).status().code();
}

TEST(ConversionTest, ReadsWhichRunsAreUnderWayIfItIsTold) {
  v1::Welcome message;
  EXPECT_EQ(WelcomeFromProto(message).runs_under_way, std::nullopt);
  message.mutable_runs_under_way();
  EXPECT_EQ(WelcomeFromProto(message).runs_under_way, std::vector<std::string>());
  message.mutable_runs_under_way()->add_run_ids("run-1");
  EXPECT_EQ(WelcomeFromProto(message).runs_under_way, std::vector<std::string>{"run-1"});
}

TEST(ConversionTest, ReadsAnAssignment) {
  const auto instruction = InstructionFromProto(GoodAssignment());
  ASSERT_THAT(instruction, IsOk());
  const Assignment& assignment = std::get<Assignment>(*instruction);
  EXPECT_EQ(assignment.id, (AttemptId{.run = "run-1", .round = 2, .attempt = 1}));
  EXPECT_EQ(assignment.adapter.bytes[31], 7);
  EXPECT_EQ(assignment.factors, FactorSet::kB);
  EXPECT_TRUE(assignment.evaluate);
  EXPECT_FALSE(assignment.evaluate_only);
  EXPECT_EQ(assignment.time_left, absl::Milliseconds(1500));
}

TEST(ConversionTest, ReadsAnInvitation) {
  v1::CoordinatorMessage message;
  message.mutable_run_invitation()->set_run_id("run-1");
  message.mutable_run_invitation()->set_plan_toml("plan");
  message.mutable_run_invitation()->set_base_digest("sha256:0");
  message.mutable_run_invitation()->set_signing_roster("roster");
  const auto instruction = InstructionFromProto(message);
  ASSERT_THAT(instruction, IsOk());
  EXPECT_EQ(std::get<Invitation>(*instruction), (Invitation{.run = "run-1",
                                                            .plan_toml = "plan",
                                                            .base_digest = "sha256:0",
                                                            .signing_roster = "roster"}));
}

TEST(ConversionTest, ReadsEndings) {
  v1::CoordinatorMessage closed;
  closed.mutable_round_closed()->set_run_id("run-1");
  closed.mutable_round_closed()->set_attempt(1);
  EXPECT_TRUE(std::holds_alternative<RoundOver>(*InstructionFromProto(closed)));
  v1::CoordinatorMessage ended;
  ended.mutable_run_ended()->set_run_id("run-1");
  EXPECT_TRUE(std::holds_alternative<RunOver>(*InstructionFromProto(ended)));

  v1::CoordinatorMessage paused;
  paused.mutable_run_paused()->set_run_id("run-1");
  paused.mutable_run_paused()->set_paused(true);
  EXPECT_TRUE(std::get<RunPause>(*InstructionFromProto(paused)).paused);
}

v1::CoordinatorMessage GoodSecureMessage() {
  v1::CoordinatorMessage message;
  v1::SecureAggregationMessage& secure = *message.mutable_secure_aggregation();
  secure.set_run_id("run-1");
  secure.set_round(2);
  secure.set_attempt(3);
  secure.set_message(std::string("\2\0\3", 3));
  return message;
}

TEST(ConversionTest, ReadsAMessageOfASecureAggregation) {
  const auto instruction = InstructionFromProto(GoodSecureMessage());
  ASSERT_THAT(instruction, IsOk());
  EXPECT_EQ(
      std::get<SecureMessage>(*instruction),
      (SecureMessage{.id = {.run = "run-1", .round = 2, .attempt = 3}, .message = {2, 0, 3}}));
}

TEST(ConversionTest, RefusesAMessageOfASecureAggregationOfNoRound) {
  v1::CoordinatorMessage message = GoodSecureMessage();
  message.mutable_secure_aggregation()->set_attempt(0);
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesAnEmptyMessageOfASecureAggregation) {
  v1::CoordinatorMessage message = GoodSecureMessage();
  message.mutable_secure_aggregation()->clear_message();
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesAMessageOfASecureAggregationThatIsTooLong) {
  v1::CoordinatorMessage message = GoodSecureMessage();
  message.mutable_secure_aggregation()->set_message(std::string((4 << 20) + 1, 'x'));
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, SaysWhatItsSecureAggregationSays) {
  const v1::ClientMessage message = ReplyToProto(
      SecureMessage{.id = {.run = "run-1", .round = 2, .attempt = 3}, .message = {1, 0, 7}});
  EXPECT_EQ(message.secure_aggregation().run_id(), "run-1");
  EXPECT_EQ(message.secure_aggregation().round(), 2);
  EXPECT_EQ(message.secure_aggregation().attempt(), 3);
  EXPECT_EQ(message.secure_aggregation().message(), std::string("\1\0\7", 3));
}

TEST(ConversionTest, AMaskedContributionHasAManifestAndNoMetrics) {
  const Bytes elements = {1, 2, 3, 4, 5, 6};
  const v1::ContributionHeader header =
      HeaderToProto(MaskedContribution{.id = {.run = "run-1", .round = 2, .attempt = 3},
                                       .factors = FactorSet::kB,
                                       .elements = elements,
                                       .manifest = {5, 0}});
  EXPECT_EQ(header.attempt(), 3);
  EXPECT_EQ(header.factors(), 2);
  EXPECT_EQ(header.size_bytes(), 6);
  EXPECT_EQ(header.sha256(), Sha256Of(std::string_view("\5\0", 2)).ToBinary());
  EXPECT_EQ(header.input_manifest(), std::string("\5\0", 2));
  EXPECT_FALSE(header.has_metrics());
}

TEST(ConversionTest, RefusesAnEmptyMessage) {
  EXPECT_EQ(CodeOf({}), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesAnInvitationWithoutRun) {
  v1::CoordinatorMessage message;
  message.mutable_run_invitation();
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesAnAssignmentWithoutRun) {
  v1::CoordinatorMessage message = GoodAssignment();
  message.mutable_round_assignment()->clear_run_id();
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesNamesOfRunsWithoutEnd) {
  const std::string name(257, 'x');
  v1::CoordinatorMessage invited, assigned = GoodAssignment(), paused, ended;
  invited.mutable_run_invitation()->set_run_id(name);
  assigned.mutable_round_assignment()->set_run_id(name);
  paused.mutable_run_paused()->set_run_id(name);
  ended.mutable_run_ended()->set_run_id(name);
  for (const v1::CoordinatorMessage& message : {invited, assigned, paused, ended}) {
    EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument) << message.message_case();
  }
}

TEST(ConversionTest, RefusesANegativeRound) {
  v1::CoordinatorMessage message = GoodAssignment();
  message.mutable_round_assignment()->set_round(-1);
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesARoundThatNoPlanHas) {
  v1::CoordinatorMessage message = GoodAssignment();
  message.mutable_round_assignment()->set_round(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesAttemptZero) {
  v1::CoordinatorMessage message = GoodAssignment();
  message.mutable_round_assignment()->set_attempt(0);
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesADigestOfAnotherLength) {
  v1::CoordinatorMessage message = GoodAssignment();
  message.mutable_round_assignment()->set_adapter_sha256("short");
  EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument);
}

TEST(ConversionTest, RefusesUnknownFactors) {
  v1::CoordinatorMessage message = GoodAssignment();
  for (const uint32_t factors : {0u, 4u}) {
    message.mutable_round_assignment()->set_factors(factors);
    EXPECT_EQ(CodeOf(message), absl::StatusCode::kInvalidArgument) << factors;
  }
}

TEST(ConversionTest, SaysWhetherItDeclinesBecauseOfTheLog) {
  for (const bool refuses : {false, true}) {
    const v1::ClientMessage message = ReplyToProto(
        InvitationAnswer{.run = "run-1", .reason = "rolled back", .refuses_log = refuses});
    EXPECT_FALSE(message.run_decision().accepted());
    EXPECT_EQ(message.run_decision().refuses_log(), refuses);
  }
}

TEST(ConversionTest, SaysInWhichPhaseTheWorkIs) {
  const v1::ClientMessage message = ReplyToProto(WorkProgress{
      .id = {.run = "run-1", .round = 2}, .phase = WorkPhase::kWaiting, .note = "for its hours"});
  EXPECT_EQ(message.progress().phase(), v1::Progress::PHASE_WAITING);
  EXPECT_EQ(message.progress().note(), "for its hours");
  EXPECT_EQ(message.progress().round(), 2);
}

TEST(ConversionTest, ReasonsOfTheCoordinatorMayBeShown) {
  v1::CoordinatorMessage message;
  v1::RoundClosed& closed = *message.mutable_round_closed();
  closed.set_run_id("run-7f3a");
  closed.set_attempt(1);
  closed.set_reason("late\n\x1b[2J");
  const auto instruction = InstructionFromProto(message);
  ASSERT_TRUE(instruction.ok());
  EXPECT_EQ(std::get<RoundOver>(*instruction).reason, "late\\n\\x1b[2J");
}

TEST(ConversionTest, ReasonsOfTheCoordinatorAreNotWithoutEnd) {
  v1::CoordinatorMessage message;
  message.mutable_run_ended()->set_run_id("run-7f3a");
  message.mutable_run_ended()->set_reason(std::string(1 << 20, 'x'));
  EXPECT_LE(std::get<RunOver>(*InstructionFromProto(message)).reason.size(), 2000u);
}

v1::ProveLogResponse GoodProof() {
  v1::ProveLogResponse message;
  message.mutable_checkpoint()->set_note("fedtune.log/north");
  message.mutable_checkpoint()->set_certificate_pem("PEM");
  message.add_consistency(std::string(32, '\1'));
  message.set_entry("entry");
  message.set_index(9);
  message.add_inclusion(std::string(32, '\2'));
  message.add_inclusion(std::string(32, '\3'));
  return message;
}

TEST(ConversionTest, ReadsAProofOfTheLog) {
  const auto proof = LogProofFromProto(GoodProof());
  ASSERT_THAT(proof, IsOk());
  EXPECT_EQ(proof->checkpoint,
            (SignedCheckpoint{.note = "fedtune.log/north", .certificate_pem = "PEM"}));
  EXPECT_EQ(proof->consistency.size(), 1);
  EXPECT_EQ(proof->consistency[0].bytes[31], 1);
  EXPECT_EQ(proof->entry, "entry");
  EXPECT_EQ(proof->index, 9);
  EXPECT_EQ(proof->inclusion.size(), 2);
  EXPECT_EQ(proof->inclusion[1].bytes[0], 3);
}

TEST(ConversionTest, RefusesAProofThatIsTooLarge) {
  using Change = std::function<void(v1::ProveLogResponse&)>;
  for (const Change& change : std::vector<Change>{
           [](auto& message) { message.mutable_checkpoint()->set_note(std::string(1 << 20, 'x')); },
           [](auto& message) {
             message.mutable_checkpoint()->set_certificate_pem(std::string(1 << 20, 'x'));
           },
           [](auto& message) { message.set_entry(std::string(kLongestLogEntry + 1, 'x')); },
           [](auto& message) { message.add_inclusion(std::string(31, 'x')); },
           [](auto& message) {
             for (int i = 0; i < 200; ++i) message.add_consistency(std::string(32, 'x'));
           }}) {
    v1::ProveLogResponse message = GoodProof();
    change(message);
    EXPECT_EQ(LogProofFromProto(message).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fedtune
