// SPDX-License-Identifier: Apache-2.0

#include "cli/log_pull.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/folders.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/signed_log.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::AddRun;
using testing::BeginLog;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::SignedLog;

// A coordinator that sends its log in parts of two entries, over a line that may break.
class PullLogTest : public ::testing::Test {
 protected:
  PullLogTest() {
    BeginLog(log_);
    AddRun(log_, "run-7f3a", 3);
  }

  static absl::Status Broken() {
    return ExplainFailure(absl::UnavailableError("Socket closed"), "hub:7443");
  }

  absl::StatusOr<PulledLog> Pull() {
    asked_.clear();
    return PullLog({.file = file_,
                    .authority_pem = log_.authority_pem(),
                    .read = [this](uint64_t from, const auto& take) { return Read(from, take); },
                    .clock = clock_,
                    .wait = [this](absl::Duration time) { clock_.Advance(time); },
                    .stop = stop_.get_token()});
  }

  // Of a pull that is refused, with the exit code 3.
  std::string Refusal() {
    const auto pulled = Pull();
    EXPECT_EQ(ExitCodeFor(pulled.status()), 3) << pulled.status();
    return std::string(pulled.status().message());
  }

  std::string InFile() const { return *ReadFile(file_); }

  // What the file has behind its first line.
  std::string EntriesInFile() const {
    const std::string text = InFile();
    return text.substr(text.find('\n') + 1);
  }

  static std::string LinesOf(const SignedLog& log) {
    const std::string text = log.FileText();
    return text.substr(text.find('\n') + 1);
  }

  absl::Status Read(uint64_t from,
                    const std::function<absl::StatusOr<bool>(const v1::LogPart&)>& take) {
    asked_.push_back(from);
    if (!answer_.ok()) return answer_;
    if (from > log_.entries.size()) return absl::OutOfRangeError("the log has fewer entries");
    v1::LogPart part;
    const SignedCheckpoint checkpoint = sign_();
    part.mutable_checkpoint()->set_note(checkpoint.note);
    part.mutable_checkpoint()->set_certificate_pem(checkpoint.certificate_pem);
    for (size_t i = from; i < log_.entries.size(); ++i) {
      part.add_entries(log_.entries[i]);
      if (part.entries_size() < 2) continue;
      ASSIGN_OR_RETURN(const bool wants_more, take(part));
      if (!wants_more) return absl::OkStatus();
      part.Clear();
      if (after_part_) RETURN_IF_ERROR(after_part_());
    }
    return take(part).status();
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path file_ = folder_.path() / "north.log";
  testing::FakeClock clock_;
  std::stop_source stop_;
  SignedLog log_;
  std::function<SignedCheckpoint()> sign_ = [this] { return log_.checkpoint(); };
  std::function<absl::Status()> after_part_;
  absl::Status answer_;
  std::vector<uint64_t> asked_;
};

TEST_F(PullLogTest, WritesTheWholeLogWithItsCheckpoint) {
  const auto pulled = Pull();
  ASSERT_THAT(pulled, IsOk()) << pulled.status();
  EXPECT_EQ(pulled->had, 0u);
  EXPECT_EQ(pulled->checkpoint.head, log_.head(log_.entries.size()));
  EXPECT_EQ(EntriesInFile(), LinesOf(log_));
  auto file = LogFileReader::Open(file_);
  EXPECT_THAT(VerifyCheckpoint(file->checkpoint(), log_.authority_pem()), IsOk());
  EXPECT_EQ(EntriesOf(folder_.path()).size(), 1u);
}

TEST_F(PullLogTest, GoesOnFromWhatIsThere) {
  ASSERT_THAT(Pull(), IsOk());
  AddRun(log_, "run-8a00", 2);
  const auto pulled = Pull();
  ASSERT_THAT(pulled, IsOk()) << pulled.status();
  EXPECT_EQ(pulled->had, 15u);
  EXPECT_THAT(asked_, ::testing::ElementsAre(15));
  EXPECT_EQ(EntriesInFile(), LinesOf(log_));
  EXPECT_EQ(Pull()->had, log_.entries.size());  // Nothing new.
  EXPECT_EQ(EntriesInFile(), LinesOf(log_));
}

TEST_F(PullLogTest, TakesABrokenLineUpAgainAndStopsAtItsFirstCheckpoint) {
  int parts = 0;
  after_part_ = [&] {
    AddRun(log_, "run-" + std::to_string(++parts), 0);
    return Broken();
  };
  const std::string entries = LinesOf(log_);
  const auto pulled = Pull();
  ASSERT_THAT(pulled, IsOk()) << pulled.status();
  EXPECT_EQ(EntriesInFile(), entries);
  EXPECT_THAT(asked_, ::testing::ElementsAre(0, 2, 4, 6, 8, 10, 12, 14));
}

TEST_F(PullLogTest, GivesUpOnALineThatStaysBrokenAndLeavesNothing) {
  after_part_ = [this] {
    answer_ = absl::UnavailableError("refused");
    return Broken();
  };
  EXPECT_EQ(ExitCodeFor(Pull().status()), 4);
  EXPECT_EQ(asked_.size(), 21u);
  EXPECT_TRUE(EntriesOf(folder_.path()).empty());
  EXPECT_EQ(ExitCodeFor(Pull().status()), 4);
  EXPECT_EQ(asked_.size(), 1u);  // It was not there at all.
}

TEST_F(PullLogTest, AsksAnewWhereNothingComesAnyMoreAndGoesOnWhereItWas) {
  after_part_ = [] { return absl::DeadlineExceededError("nothing has come"); };
  ASSERT_THAT(Pull(), IsOk());
  EXPECT_EQ(EntriesInFile(), LinesOf(log_));
  EXPECT_THAT(asked_, ::testing::ElementsAre(0, 2, 4, 6, 8, 10, 12, 14));
}

TEST_F(PullLogTest, GivesUpWhereNothingComesAgainAndAgainAndLeavesNothing) {
  answer_ = absl::DeadlineExceededError("nothing has come");
  EXPECT_EQ(ExitCodeFor(Pull().status()), 4);
  EXPECT_EQ(asked_.size(), 3u);
  EXPECT_TRUE(EntriesOf(folder_.path()).empty());
}

TEST_F(PullLogTest, CtrlCLeavesWhatWasThere) {
  ASSERT_THAT(Pull(), IsOk());
  const std::string before = InFile();
  AddRun(log_, "run-8a00", 2);
  after_part_ = [this] {
    stop_.request_stop();
    return absl::CancelledError("");
  };
  EXPECT_THAT(Pull(), HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(InFile(), before);
  EXPECT_EQ(EntriesOf(folder_.path()).size(), 1u);
}

TEST_F(PullLogTest, RefusesEntriesThatWereNotSigned) {
  sign_ = [signed_before = log_.checkpoint()] { return signed_before; };
  log_.entries[3] = log_.entries[4];
  EXPECT_THAT(Refusal(), HasSubstr("is not the log that it has signed"));
  log_.entries.pop_back();
  EXPECT_THAT(Refusal(), HasSubstr("ends before its log does"));
  log_.entries.back() += "\n";
  EXPECT_THAT(Refusal(), HasSubstr("entry 14 of the coordinator's log is none"));
  EXPECT_TRUE(EntriesOf(folder_.path()).empty());
}

TEST_F(PullLogTest, RefusesACheckpointOfSomebodyElse) {
  sign_ = [this] { return SignedLog("north").Sign(log_.head(15)); };
  EXPECT_THAT(Refusal(), HasSubstr("the coordinator's checkpoint: "));
  sign_ = [] { return SignedCheckpoint(); };
  EXPECT_THAT(Refusal(), HasSubstr("the coordinator's checkpoint: "));
}

TEST_F(PullLogTest, ARewrittenPastIsNoticedAndTheOldFileStays) {
  ASSERT_THAT(Pull(), IsOk());
  const std::string before = InFile();
  log_.entries.resize(6);
  AddRun(log_, "run-8a00", 4);
  const std::string why = Refusal();
  EXPECT_THAT(why, HasSubstr("they differ from entry 7 on"));
  EXPECT_THAT(why, HasSubstr("north.log has 15 entries, and the coordinator's log 24;"));
  EXPECT_EQ(InFile(), before);
}

TEST_F(PullLogTest, ALogThatWasRolledBackIsNoticedAndTheOldFileStays) {
  ASSERT_THAT(Pull(), IsOk());
  const std::string before = InFile();
  log_.entries.resize(9);
  EXPECT_THAT(Refusal(), HasSubstr("it was rolled back. "));
  EXPECT_EQ(InFile(), before);
  EXPECT_EQ(EntriesOf(folder_.path()).size(), 1u);
}

TEST_F(PullLogTest, AnAnswerThatIsNoLogIsNotTakenForAnother) {
  ASSERT_THAT(Pull(), IsOk());
  const SignedCheckpoint checkpoint = log_.checkpoint(15);
  AddRun(log_, "run-8a00", 0);
  sign_ = [this, checkpoint, n = 0]() mutable {
    return ++n == 1 ? log_.Sign({17, {}}) : checkpoint;
  };
  EXPECT_THAT(Refusal(), HasSubstr("is not the log that it has signed"));
}

TEST_F(PullLogTest, ALogThatBecomesShorterMeanwhileIsRefused) {
  after_part_ = [this] {
    log_.entries.resize(1);
    return Broken();
  };
  EXPECT_THAT(Refusal(), HasSubstr("has become shorter while it was read"));
}

TEST_F(PullLogTest, AFileThatIsNoLogOrWasChangedStays) {
  ASSERT_THAT(WriteFileAtomically(file_, "my notes\n"), IsOk());
  EXPECT_EQ(ExitCodeFor(Pull().status()), 2);
  EXPECT_EQ(InFile(), "my notes\n");
  SignedLog changed = log_;
  changed.entries.pop_back();
  ASSERT_THAT(WriteFileAtomically(file_, changed.FileText(log_.checkpoint())), IsOk());
  EXPECT_THAT(Refusal(), HasSubstr("is not as it was pulled"));
  ASSERT_THAT(WriteFileAtomically(file_, log_.FileText() + "cut"), IsOk());
  EXPECT_THAT(Refusal(), HasSubstr("the text ends within it"));
  EXPECT_TRUE(asked_.empty());
}

TEST_F(PullLogTest, ACoordinatorWithoutALogSaysSo) {
  answer_ = absl::UnimplementedError("");
  const auto pulled = Pull();
  EXPECT_EQ(ExitCodeFor(pulled.status()), 1);
  EXPECT_THAT(std::string(pulled.status().message()), HasSubstr("keeps no log"));
}

}  // namespace
}  // namespace fedtune
