// SPDX-License-Identifier: Apache-2.0

#include "client/commands/client_end.h"

#include "base/exit_code.h"
#include "client/storage/session_journal.h"
#include "gmock/gmock.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::FaultVfs;
using testing::HasCode;
using testing::IsOk;

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

TEST(ClientEndTest, EndsWellWhenItIsAskedTo) {
  std::stop_source signals;
  ClientEnd end(signals.get_token());
  EXPECT_FALSE(end.token().stop_requested());
  signals.request_stop();
  EXPECT_TRUE(end.token().stop_requested());
  EXPECT_THAT(end.status(), IsOk());
}

TEST(ClientEndTest, FailsWithTheFirstReason) {
  ClientEnd end({});
  end.Fail(absl::UnavailableError("the disk is gone"));
  end.Fail(absl::InternalError("something else"));
  EXPECT_TRUE(end.token().stop_requested());
  EXPECT_THAT(end.status(), HasCode(kUnavailable));
  EXPECT_EQ(ExitCodeFor(end.status()), 1);
}

TEST(ClientEndTest, EndsWellThoughSomethingFailsAfterwards) {
  std::stop_source signals;
  ClientEnd end(signals.get_token());
  signals.request_stop();
  end.Fail(absl::UnavailableError("the disk is gone"));
  EXPECT_THAT(end.status(), IsOk());
}

// Where it would otherwise train and hand in nothing until somebody looks.
TEST(ClientEndTest, AClientWhoseJournalIsLostEnds) {
  FaultVfs& disk = FaultVfs::Install();
  const testing::TemporaryDirectory folder;
  ClientEnd end({});
  auto journal = SessionJournal::Open(folder.path() / "aggregations.db",
                                      SigningKey::Generate(CipherSuite::kCurve25519));
  ASSERT_THAT(journal, IsOk());
  journal->OnEnd([&end](const absl::Status& why) { end.Fail(why); });
  const JournalSession session{.id = Sha256Of("attempt 1"), .run = "run-1", .round = 7};
  ASSERT_THAT(journal->Begin(session), IsOk());
  disk.Arm(FaultVfs::Fault::kIoError, 0);
  EXPECT_THAT(journal->Append(session.id, 0, Bytes{1}, false), HasCode(kUnavailable));
  disk.Heal();
  EXPECT_TRUE(end.token().stop_requested());
  EXPECT_EQ(ExitCodeFor(end.status()), 1);
}

}  // namespace
}  // namespace fedtune
