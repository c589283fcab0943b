// SPDX-License-Identifier: Apache-2.0

// A log, its proofs and a signed checkpoint, all made in Python without any of our code or
// OpenSSL's: tests/interop/make_audit_log_golden.py.

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_tree.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

class LogGoldenTest : public ::testing::Test {
 protected:
  LogGoldenTest()
      : golden_(*ParseJson(*ReadFile("tests/interop/golden/audit_log.json"), "audit_log.json")),
        entries_(golden_.at("entries").get<std::vector<std::string>>()) {
    for (const std::string& entry : entries_) log_.Append(MerkleLeaf(SpanOf(entry)));
  }

  nlohmann::json golden_;
  std::vector<std::string> entries_;
  LogSubtrees log_;
};

TEST_F(LogGoldenTest, ReadsAndWritesItsEntries) {
  ASSERT_GT(entries_.size(), 64);
  for (const std::string& bytes : entries_) {
    const absl::StatusOr<LogEntry> entry = ParseLogEntry(bytes);
    ASSERT_THAT(entry, IsOk()) << bytes << ": " << entry.status();
    EXPECT_EQ(WriteLogEntry(*entry), bytes);
  }
}

TEST_F(LogGoldenTest, HasItsRootsAndProofs) {
  const nlohmann::json& sizes = golden_.at("sizes");
  ASSERT_EQ(sizes.size(), entries_.size() + 1);
  for (uint64_t size = 0; size < sizes.size(); ++size) {
    Sha256 inclusion;
    Sha256 consistency;
    const auto add = [](const std::vector<Digest>& proof, Sha256& all) {
      for (const Digest& hash : proof) all.Update(hash.ToBinary());
    };
    for (uint64_t index = 0; index < size; ++index) {
      add(LogInclusionProof(log_, index, size).value(), inclusion);
    }
    for (uint64_t old = 0; old <= size; ++old) {
      add(LogConsistencyProof(log_, old, size).value(), consistency);
    }
    EXPECT_EQ(sizes[size].at("root"), LogRoot(log_, size)->ToHex()) << size;
    EXPECT_EQ(sizes[size].at("inclusion"), std::move(inclusion).Finish().ToHex()) << size;
    EXPECT_EQ(sizes[size].at("consistency"), std::move(consistency).Finish().ToHex()) << size;
  }
}

TEST_F(LogGoldenTest, TakesItsCheckpoint) {
  const absl::StatusOr<LogCheckpoint> checkpoint = VerifyCheckpoint(
      {golden_.at("note"), golden_.at("certificate")}, golden_.at("authority").get<std::string>());
  ASSERT_THAT(checkpoint, IsOk()) << checkpoint.status();
  EXPECT_EQ(checkpoint->federation, "north");
  EXPECT_EQ(checkpoint->head, (LogHead{entries_.size(), LogRoot(log_, entries_.size()).value()}));
}

}  // namespace
}  // namespace fedtune
