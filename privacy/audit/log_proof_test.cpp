// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_proof.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/signing_coordinator.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::SigningCoordinator;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15
constexpr uint64_t kEntries = 20;

LogEntry Opened(uint64_t round, int64_t attempt = 1) {
  return {.at = kNow,
          .event = RoundOpened{.run = "run-7f3a",
                               .round = static_cast<int64_t>(round),
                               .attempt = attempt,
                               .adapter = Sha256Of("adapter")}};
}

// A log with an entry for each round.
class KeptLog {
 public:
  // Those from `fork` on tell of a second attempt.
  explicit KeptLog(uint64_t size, uint64_t fork = kEntries) {
    for (uint64_t round = 0; round < size; ++round) {
      Append(WriteLogEntry(Opened(round, round < fork ? 1 : 2)));
    }
  }

  void Append(std::string entry) {
    subtrees_.Append(MerkleLeaf(SpanOf(entry)));
    entries_.push_back(std::move(entry));
  }

  LogCheckpoint At(uint64_t size) const {
    return {.federation = "north", .head = {size, LogRoot(subtrees_, size).value()}};
  }

  // That the entry at `index` is in all of the log, for who has seen `seen` entries.
  LogProof Prove(uint64_t seen, uint64_t index, const SigningCoordinator& hub) const {
    const uint64_t size = entries_.size();
    std::vector<Digest> consistency;
    if (seen <= size) consistency = LogConsistencyProof(subtrees_, seen, size).value();
    return {.checkpoint = hub.Sign(At(size)),
            .consistency = std::move(consistency),
            .entry = entries_[index],
            .index = index,
            .inclusion = LogInclusionProof(subtrees_, index, size).value()};
  }

 private:
  std::vector<std::string> entries_;
  LogSubtrees subtrees_;
};

class LogProofTest : public ::testing::Test {
 protected:
  absl::StatusOr<ProvenEntry> Verify(const LogProof& proof,
                                     const std::optional<LogCheckpoint>& seen) const {
    return VerifyLogProof(proof, seen, authority_.ToPem());
  }

  CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
  SigningCoordinator hub_{authority_, kNow};
  KeptLog log_{kEntries};
};

TEST_F(LogProofTest, ShowsAnEntryOfALogThatHasGrown) {
  const absl::StatusOr<ProvenEntry> proven = Verify(log_.Prove(7, 11, hub_), log_.At(7));
  ASSERT_THAT(proven, IsOk()) << proven.status();
  EXPECT_EQ(proven->checkpoint, log_.At(kEntries));
  EXPECT_EQ(proven->entry, Opened(11));
}

TEST_F(LogProofTest, ShowsAnEntryToWhoHasSeenNothing) {
  EXPECT_EQ(Verify(log_.Prove(0, 11, hub_), std::nullopt)->entry, Opened(11));
  EXPECT_EQ(Verify(log_.Prove(0, 11, hub_), log_.At(0))->entry, Opened(11));
}

TEST_F(LogProofTest, ShowsAnEntryOfALogThatStandsStill) {
  EXPECT_EQ(Verify(log_.Prove(kEntries, 0, hub_), log_.At(kEntries))->entry, Opened(0));
}

TEST_F(LogProofTest, HoldsWithTheCoordinatorsNextCertificate) {
  const SigningCoordinator renewed(authority_, kNow + absl::Hours(24 * 29));
  EXPECT_THAT(Verify(log_.Prove(7, 11, renewed), log_.At(7)), IsOk());
}

TEST_F(LogProofTest, FindsALogThatWasRolledBack) {
  const KeptLog restored(12);
  const absl::StatusOr<ProvenEntry> refused =
      Verify(restored.Prove(kEntries, 11, hub_), log_.At(kEntries));
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(refused.status()), AllOf(HasSubstr("12"), HasSubstr("20")));
}

TEST_F(LogProofTest, FindsALogThatWasRolledBackAndHasGrownAgain) {
  const KeptLog rewritten(kEntries, /*fork=*/6);
  for (const uint64_t seen : {7U, 8U, 13U, 20U}) {
    const absl::StatusOr<ProvenEntry> refused =
        Verify(rewritten.Prove(seen, 3, hub_), log_.At(seen));
    EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition)) << seen;
    EXPECT_THAT(Message(refused.status()), AllOf(HasSubstr(std::to_string(seen)), HasSubstr("20")));
  }
  EXPECT_THAT(Verify(rewritten.Prove(6, 3, hub_), log_.At(6)), IsOk());
}

TEST_F(LogProofTest, FindsThatAnotherFederationWasSeen) {
  LogCheckpoint seen = log_.At(7);
  seen.federation = "south";
  const absl::StatusOr<ProvenEntry> refused = Verify(log_.Prove(7, 11, hub_), seen);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(refused.status()), AllOf(HasSubstr("north"), HasSubstr("south")));
}

TEST_F(LogProofTest, RefusesAProofOfGrowthThatIsNone) {
  LogProof proof = log_.Prove(7, 11, hub_);
  proof.consistency.pop_back();
  EXPECT_THAT(Verify(proof, log_.At(7)), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Verify(log_.Prove(7, 11, hub_), std::nullopt),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(LogProofTest, RefusesAnEntryThatIsNotShownToBeInTheLog) {
  const LogProof proof = log_.Prove(7, 11, hub_);
  LogProof other_entry = proof;
  other_entry.entry = WriteLogEntry(Opened(12));
  LogProof other_place = proof;
  other_place.index = 10;
  LogProof beyond = proof;
  beyond.index = kEntries;
  LogProof unproven = proof;
  unproven.inclusion.clear();
  for (const LogProof& altered : {other_entry, other_place, beyond, unproven}) {
    const absl::StatusOr<ProvenEntry> refused = Verify(altered, log_.At(7));
    EXPECT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(Message(refused.status()), HasSubstr("is not shown to be in the log of 20"));
  }
}

TEST_F(LogProofTest, RefusesAnEntryThatNoCoordinatorWrites) {
  log_.Append("{}");
  EXPECT_THAT(Verify(log_.Prove(7, kEntries, hub_), log_.At(7)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(LogProofTest, TellsAnEntryOfANewerCoordinatorFromABadOne) {
  log_.Append(R"({"at":"2027-01-15T08:00:00.000Z","event":"moon seen"})");
  EXPECT_THAT(Verify(log_.Prove(7, kEntries, hub_), log_.At(7)),
              HasCode(absl::StatusCode::kUnimplemented));
}

TEST_F(LogProofTest, RefusesWhatNoCoordinatorHasSigned) {
  LogProof altered = log_.Prove(7, 11, hub_);
  altered.checkpoint = hub_.Sign(log_.At(12));
  altered.checkpoint.note.replace(altered.checkpoint.note.find("12"), 2, "20");
  EXPECT_THAT(Verify(altered, log_.At(7)), HasCode(absl::StatusCode::kUnauthenticated));
  const SigningCoordinator client(authority_, kNow, Role::kClient);
  EXPECT_THAT(Verify(log_.Prove(7, 11, client), log_.At(7)),
              HasCode(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace fedtune
