// SPDX-License-Identifier: Apache-2.0

// What clients and administrators are told of the coordinator's log, over real TLS.

#include "coordinator/rpc/log_answers.h"

#include <optional>
#include <string>
#include <vector>

#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/audit/log_proof.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LogAnswersTest : public ServerTest {
 protected:
  static grpc::Status Ask(FakeClient& client, const v1::ProveLogRequest& request,
                          v1::ProveLogResponse& response) {
    grpc::ClientContext context;
    return client.stub().ProveLog(&context, request, &response);
  }

  static v1::ProveLogRequest StartOf(const std::string& run, uint64_t seen = 0) {
    v1::ProveLogRequest request;
    request.set_run_id(run);
    request.set_seen_size(seen);
    return request;
  }

  static LogProof ProofIn(const v1::ProveLogResponse& response) {
    LogProof proof{.checkpoint = {.note = response.checkpoint().note(),
                                  .certificate_pem = response.checkpoint().certificate_pem()},
                   .consistency = {},
                   .entry = response.entry(),
                   .index = response.index(),
                   .inclusion = {}};
    for (const auto& hash : response.consistency()) {
      proof.consistency.push_back(*Digest::FromBinary(hash, "hash"));
    }
    for (const auto& hash : response.inclusion()) {
      proof.inclusion.push_back(*Digest::FromBinary(hash, "hash"));
    }
    return proof;
  }

  // What the coordinator proves to the client, which has seen so much.
  absl::StatusOr<ProvenEntry> Prove(FakeClient& client, v1::ProveLogRequest request,
                                    const std::optional<LogCheckpoint>& seen) const {
    request.set_seen_size(seen.has_value() ? seen->head.size : 0);
    v1::ProveLogResponse response;
    EXPECT_THAT(Ask(client, request, response), IsGrpcOk());
    return VerifyLogProof(ProofIn(response), seen, federation_.authority_pem());
  }

  // A run that goes on for as long as the test.
  std::string StartRunWithClient() {
    ada_ = ConnectClient("ada");
    const std::string run = StartRun(1, 1).run_id();
    ada_->Join(100);
    ada_->Receive();
    return run;
  }

  struct Read {
    grpc::Status status;
    std::optional<LogCheckpoint> checkpoint;
    std::vector<std::string> entries;
    int parts = 0;
  };

  Read ReadLog(uint64_t from) const {
    grpc::ClientContext context;
    v1::ReadLogRequest request;
    request.set_from(from);
    const auto administrator = Administrator();
    const auto reader = administrator->ReadLog(&context, request);
    Read read;
    for (v1::LogPart part; reader->Read(&part); ++read.parts) {
      EXPECT_EQ(part.has_checkpoint(), read.parts == 0);
      if (part.has_checkpoint()) {
        read.checkpoint =
            *VerifyCheckpoint({.note = part.checkpoint().note(),
                               .certificate_pem = part.checkpoint().certificate_pem()},
                              federation_.authority_pem());
      }
      read.entries.insert(read.entries.end(), part.entries().begin(), part.entries().end());
    }
    read.status = reader->Finish();
    return read;
  }

  static Digest RootOf(const std::vector<std::string>& entries) {
    std::vector<Digest> leaves;
    for (const std::string& entry : entries) leaves.push_back(MerkleLeaf(SpanOf(entry)));
    return MerkleRoot(leaves);
  }

 private:
  std::unique_ptr<FakeClient> ada_;
};

TEST_F(LogAnswersTest, AClientLearnsOfARunWhatItsInvitationSays) {
  const auto ada = ConnectClient("ada");
  const v1::RunStatus run = StartRun(1, 1);
  ada->Join(100);
  const auto proven = Prove(*ada, StartOf(run.run_id()), std::nullopt);
  ASSERT_THAT(proven, IsOk()) << proven.status();
  EXPECT_EQ(proven->checkpoint.federation, "north");
  const auto& started = std::get<RunStarted>(proven->entry.event);
  EXPECT_EQ(started.run, run.run_id());
  EXPECT_EQ(started.plan, Sha256Of(ada->invitation().plan_toml()));
  EXPECT_EQ(started.layout, Sha256Of(ada->invitation().layout_json()));
  EXPECT_EQ(started.started_by, "grace");
}

TEST_F(LogAnswersTest, AClientLearnsThatItsAttemptIsInALogThatHasOnlyGrown) {
  const auto ada = ConnectClient("ada");
  const v1::RunStatus run = StartRun(1, 1);
  ada->Join(100);
  const LogCheckpoint seen = Prove(*ada, StartOf(run.run_id()), std::nullopt)->checkpoint;
  const v1::RoundAssignment work = ada->Receive().round_assignment();
  v1::ProveLogRequest opening = StartOf(run.run_id());
  opening.set_round(work.round());
  opening.set_attempt(work.attempt());
  const auto proven = Prove(*ada, opening, seen);
  ASSERT_THAT(proven, IsOk()) << proven.status();
  const auto& opened = std::get<RoundOpened>(proven->entry.event);
  EXPECT_EQ(opened.round, work.round());
  EXPECT_EQ(opened.attempt, work.attempt());
  EXPECT_EQ(opened.adapter.ToBinary(), work.adapter_sha256());
}

TEST_F(LogAnswersTest, AnInstitutionThatThePlanDoesNotAdmitLearnsNothing) {
  const auto ada = ConnectClient("ada");
  const auto bea = ConnectClient("bea");
  v1::StartRunRequest request = StartRequest(1, 1);
  request.set_plan_toml(TinyPlanToml({.rounds = "count = 1\nquorum = 1\ndeadline = \"60s\"\n"
                                                "institutions = [\"ada\"]"}));
  v1::RunStatus run;
  ASSERT_THAT(TryStart(request, &run), IsGrpcOk());
  v1::ProveLogResponse response;
  EXPECT_THAT(Ask(*ada, StartOf(run.run_id()), response), IsGrpcOk());
  response.Clear();
  EXPECT_THAT(Ask(*bea, StartOf(run.run_id()), response), HasGrpcCode(NOT_FOUND));
  EXPECT_THAT(response.checkpoint().note(), IsEmpty());
}

TEST_F(LogAnswersTest, WhatIsNotInTheLogIsNotFound) {
  const auto ada = ConnectClient("ada");
  const v1::RunStatus run = StartRun(1, 1);
  v1::ProveLogResponse response;
  EXPECT_THAT(Ask(*ada, StartOf("run-0000"), response), HasGrpcCode(NOT_FOUND));
  v1::ProveLogRequest never = StartOf(run.run_id());
  for (const int64_t number : {-1, 999}) {
    never.set_round(number);
    never.set_attempt(number);
    EXPECT_THAT(Ask(*ada, never, response), HasGrpcCode(NOT_FOUND));
  }
}

TEST_F(LogAnswersTest, AClientSeesWhereTheLogStandsBeforeThereIsARun) {
  const auto ada = ConnectClient("ada");
  const auto proven = Prove(*ada, {}, std::nullopt);
  ASSERT_THAT(proven, IsOk()) << proven.status();
  EXPECT_TRUE(std::holds_alternative<LogBegun>(proven->entry.event));
  const LogCheckpoint seen = {.federation = "north", .head = {.size = UINT64_MAX, .root = {}}};
  EXPECT_THAT(Prove(*ada, {}, seen), HasCode(absl::StatusCode::kFailedPrecondition));
}

// A client that has seen more has the evidence in its hands.
TEST_F(LogAnswersTest, ALogThatWasRolledBackIsShownAsItIs) {
  const auto ada = ConnectClient("ada");
  const v1::RunStatus run = StartRun(1, 1);
  const LogCheckpoint seen = {.federation = "north", .head = {.size = UINT64_MAX, .root = {}}};
  EXPECT_THAT(Prove(*ada, StartOf(run.run_id()), seen),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(LogAnswersTest, ALongLogComesInParts) {
  server_.reset();
  {
    const auto state = *OpenStateDatabase(directory_.path() / "state" / std::string(kDatabaseName));
    SqliteTransaction transaction = *SqliteTransaction::Begin(state->connection);
    LogWriter log = *LogWriter::Begin(state->connection, clock_.Now());
    for (int i = 0; i < 5000; ++i) {
      ASSERT_THAT(log.Append(RunResumed{.run = fmt::format("run-{:04}", i)}), IsOk());
    }
    ASSERT_THAT(std::move(transaction).Commit(), IsOk());
  }
  StartServer();
  const Read all = ReadLog(0);
  EXPECT_THAT(all.status, IsGrpcOk());
  EXPECT_GT(all.parts, 1);
  EXPECT_EQ(all.entries.size(), all.checkpoint->head.size);
  EXPECT_EQ(all.checkpoint->head.root, RootOf(all.entries));
}

TEST_F(LogAnswersTest, AnAdministratorReadsTheLogFromAnEntryOn) {
  StartRunWithClient();
  const Read all = ReadLog(0);
  EXPECT_EQ(all.checkpoint->head.size, all.entries.size());
  EXPECT_EQ(all.checkpoint->head.root, RootOf(all.entries));
  const Read rest = ReadLog(all.entries.size() - 1);
  EXPECT_THAT(rest.entries, ::testing::ElementsAre(all.entries.back()));
  const Read nothing = ReadLog(all.entries.size());
  EXPECT_THAT(nothing.status, IsGrpcOk());
  EXPECT_THAT(nothing.entries, IsEmpty());
  EXPECT_EQ(nothing.checkpoint->head, all.checkpoint->head);
  EXPECT_THAT(ReadLog(all.entries.size() + 1).status, HasGrpcCode(OUT_OF_RANGE));
}

}  // namespace
}  // namespace fedtune::testing
