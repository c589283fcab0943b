// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_proof.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/merkle_tree.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15

class LogProofTest : public ::testing::Test {
 protected:
  LogProofTest() {
    const Identity identity = {.federation = "north", .role = Role::kCoordinator, .name = "hub"};
    const PrivateKey key = PrivateKey::Generate();
    const auto request = *CertificateRequest::Parse(*MakeCertificateRequest(key, identity));
    certificate_ = *authority_.Issue(
        request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(1)}, kNow);
    const SecretBytes pem = key.ToPem();
    const auto bytes = pem.Reveal();
    key_ = *SigningKey::ParsePem({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    for (int64_t round = 0; round < 20; ++round) Append(round);
  }

  static LogEntry Opened(int64_t round) {
    return {.at = kNow,
            .event = RoundOpened{
                .run = "run-7f3a", .round = round, .attempt = 1, .adapter = Sha256Of("adapter")}};
  }

  void Append(int64_t round) {
    entries_.push_back(WriteLogEntry(Opened(round)));
    log_.Append(MerkleLeaf(SpanOf(entries_.back())));
  }

  Checkpoint At(uint64_t size) const {
    return {.federation = "north", .head = {size, LogRoot(log_, size).value()}};
  }

  // That the entry at `index` is in the log of `size`, for who has seen `seen` entries.
  LogProof Prove(uint64_t seen, uint64_t index, uint64_t size) const {
    return {.checkpoint = {SignCheckpoint(At(size), *key_), certificate_},
            .consistency = LogConsistencyProof(log_, seen, size).value(),
            .entry = entries_[index],
            .index = index,
            .inclusion = LogInclusionProof(log_, index, size).value()};
  }

  absl::StatusOr<ProvenEntry> Verify(const LogProof& proof,
                                     const std::optional<Checkpoint>& seen) const {
    return VerifyLogProof(proof, seen, authority_.ToPem());
  }

  CertificateAuthority authority_ =
      *CertificateAuthority::Create("north", absl::Hours(24 * 365), kNow);
  std::string certificate_;
  std::optional<SigningKey> key_;
  std::vector<std::string> entries_;
  LogSubtrees log_;
};

TEST_F(LogProofTest, ShowsAnEntryOfALogThatHasGrown) {
  const absl::StatusOr<ProvenEntry> proven = Verify(Prove(7, 11, 20), At(7));
  ASSERT_THAT(proven, IsOk()) << proven.status();
  EXPECT_EQ(proven->checkpoint, At(20));
  EXPECT_EQ(proven->entry, Opened(11));
}

}  // namespace
}  // namespace fedtune
