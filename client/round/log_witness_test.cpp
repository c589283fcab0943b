// SPDX-License-Identifier: Apache-2.0

#include "client/round/log_witness.h"

#include <filesystem>
#include <latch>
#include <memory>
#include <optional>
#include <thread>

#include "base/file_lock.h"
#include "base/files.h"
#include "base/status.h"
#include "client/round/refused_log.h"
#include "gmock/gmock.h"
#include "tests/support/coordinator_log.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using testing::CoordinatorLog;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::LogLink;
using testing::LogSigner;
using ::testing::SizeIs;

constexpr absl::StatusCode kRefused = absl::StatusCode::kFailedPrecondition;
constexpr absl::StatusCode kContradicted = absl::StatusCode::kInvalidArgument;

const Invitation kInvitation = {.run = "run-7f3a",
                                .plan_toml = "name = \"icd10\"",
                                .layout_json = "{}",
                                .base_digest = "sha256:77ab"};

RunStarted Started() {
  return {.run = "run-7f3a",
          .plan = Sha256Of(kInvitation.plan_toml),
          .layout = Sha256Of(kInvitation.layout_json),
          .base_digest = kInvitation.base_digest,
          .adapter = Sha256Of("initial"),
          .started_by = "anna"};
}

RoundOpened Opened(int64_t round, int64_t attempt = 1, std::string_view adapter = "adapter") {
  return {.run = "run-7f3a", .round = round, .attempt = attempt, .adapter = Sha256Of(adapter)};
}

// St. Anna's witness of a coordinator's log, which has a run.
class LogWitnessTest : public ::testing::Test {
 protected:
  LogWitnessTest() {
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "authority.pem", signer_->authority()),
                IsOk());
    link_.answer = [this](const LogQuestion& question) { return north_.Prove(question); };
    north_.Append(Started());
    north_.Append(Opened(0));
  }

  SeenLog Seen() const { return {folder_.path(), folder_.path() / "authority.pem"}; }
  LogWitness Restarted() { return {Seen(), clock_, log_}; }

  absl::Status Start() { return witness_.CheckStarted(kInvitation, link_, {}); }
  absl::Status Open(int64_t round, int64_t attempt = 1, std::string_view adapter = "adapter") {
    return witness_.CheckOpened({.id = {.run = "run-7f3a", .round = round, .attempt = attempt},
                                 .adapter = Sha256Of(adapter)},
                                link_, {});
  }

  uint64_t SeenSize() const {
    const auto seen = Seen().Believed();
    return seen.ok() && seen->has_value() ? (*seen)->checkpoint.head.size : 0;
  }
  std::vector<std::string> FilesInFolder() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  const testing::TemporaryDirectory folder_;
  std::shared_ptr<const LogSigner> signer_ = std::make_shared<LogSigner>();
  CoordinatorLog north_{signer_};
  LogLink link_;
  testing::FakeClock clock_;
  std::vector<std::string> lines_;
  Log log_{[this](std::string_view line) { lines_.emplace_back(line); }};
  LogWitness witness_{Seen(), clock_, log_};
};

TEST_F(LogWitnessTest, TakesALogThatGrows) {
  EXPECT_THAT(Start(), IsOk());
  EXPECT_EQ(SeenSize(), 3);
  for (int64_t round = 1; round < 20; ++round) {
    north_.Append(Opened(round));
    EXPECT_THAT(Open(round), IsOk());
    EXPECT_EQ(SeenSize(), static_cast<uint64_t>(round) + 3);
  }
  EXPECT_THAT(Restarted().CheckStarted(kInvitation, link_, {}), IsOk());
  EXPECT_THAT(lines_, SizeIs(1)) << "of the first time";
}

TEST_F(LogWitnessTest, SaysHowMuchItHasSeenAlready) {
  std::vector<uint64_t> sizes;
  link_.answer = [&](const LogQuestion& question) {
    sizes.push_back(question.seen_size);
    return north_.Prove(question);
  };
  EXPECT_THAT(Start(), IsOk());
  EXPECT_THAT(Open(0), IsOk());
  EXPECT_THAT(Restarted().CheckStarted(kInvitation, link_, {}), IsOk());
  EXPECT_EQ(sizes, (std::vector<uint64_t>{0, 3, 3}));
}

TEST_F(LogWitnessTest, RefusesALogThatWasRolledBack) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  north_ = backup;
  EXPECT_THAT(std::string(Message(Start())),
              AllOf(HasSubstr("was rolled back: it had 4 entries when this institution last saw "
                              "it, now it has 3"),
                    HasSubstr("fedtune-client log accept")));
  EXPECT_EQ(SeenSize(), 4) << "it does not forget";
}

TEST_F(LogWitnessTest, RefusesALogThatWasRolledBackAndHasGrownSince) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  north_ = backup;
  for (int64_t attempt = 2; attempt < 9; ++attempt) north_.Append(Opened(1, attempt));
  const absl::Status refused = Open(1, 8);
  EXPECT_THAT(refused, HasCode(kRefused));
  EXPECT_THAT(std::string(Message(refused)),
              HasSubstr("the first 4 of its 10 entries were others"));
}

TEST_F(LogWitnessTest, RefusesTheOtherFaceOfALogOfTheSameLength) {
  CoordinatorLog other = north_;
  north_.Append(Opened(1));
  other.Append(Opened(1, 1, "another adapter"));
  ASSERT_THAT(Open(1), IsOk());
  link_.answer = [&](const LogQuestion& question) { return other.Prove(question); };
  EXPECT_THAT(Open(1, 1, "another adapter"), HasCode(kRefused));
}

TEST_F(LogWitnessTest, KeepsWhatItHasRefusedAsEvidence) {
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  CoordinatorLog other(signer_);
  other.Append(Started());
  north_ = other;
  ASSERT_THAT(Start(), HasCode(kRefused));
  const auto refused = Seen().Refused();
  ASSERT_THAT(refused, IsOk());
  EXPECT_EQ((*refused)->checkpoint.head, other.head());
  EXPECT_THAT(lines_.back(),
              AllOf(HasSubstr("the coordinator's log is refused"), HasSubstr("log_checkpoint.json"),
                    HasSubstr("log_checkpoint.refused.json")));
}

TEST_F(LogWitnessTest, SaysOnceWhyItRefuses) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Start(), IsOk());
  north_ = backup;
  lines_.clear();
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Start(), HasCode(kRefused));
  EXPECT_THAT(lines_, SizeIs(1));
}

TEST_F(LogWitnessTest, SaysOnceAnHourThatItRefusesALogThatGrows) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Start(), IsOk());
  north_ = backup;
  lines_.clear();
  for (int64_t minute = 0; minute < 150; ++minute) {
    north_.Append(Opened(1, minute + 2));
    EXPECT_THAT(Start(), HasCode(kRefused));
    clock_.Advance(absl::Minutes(1));
  }
  EXPECT_THAT(lines_, SizeIs(3));
}

TEST_F(LogWitnessTest, LooksAtALogWithoutBeingAskedForWork) {
  EXPECT_THAT(witness_.Look(link_, {}), IsOk());
  EXPECT_EQ(SeenSize(), 3);
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  EXPECT_THAT(witness_.Look(link_, {}), IsOk());
  north_ = backup;
  const absl::Status refused = witness_.Look(link_, {});
  EXPECT_THAT(refused, HasCode(kRefused));
  EXPECT_TRUE(IsLogRefused(refused));
}

TEST_F(LogWitnessTest, AsksNobodyWhileARefusedLogIsNotAccepted) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(witness_.Look(link_, {}), IsOk());
  north_ = backup;
  int questions = 0;
  link_.answer = [&](const LogQuestion& question) {
    ++questions;
    return north_.Prove(question);
  };
  for (int i = 0; i < 10; ++i) EXPECT_THAT(witness_.Look(link_, {}), HasCode(kRefused));
  EXPECT_EQ(questions, 1);
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(witness_.Look(link_, {}), HasCode(kRefused));
  EXPECT_EQ(questions, 2) << "the coordinator may have its old log again";
  ASSERT_THAT(Seen().Accept(clock_.Now()), IsOk());
  EXPECT_THAT(witness_.Look(link_, {}), IsOk()) << "at once";
  EXPECT_EQ(questions, 3);
}

TEST_F(LogWitnessTest, AnOlderCoordinatorIsNotRefusedAsItKnowsNoLookAtItsLog) {
  link_.answer = [](const LogQuestion&) { return absl::NotFoundError("no such run"); };
  EXPECT_THAT(witness_.Look(link_, {}), IsOk());
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(LogWitnessTest, AnotherEntryThanTheBeginningIsNoAnswerToALook) {
  link_.answer = [this](const LogQuestion& question) -> absl::StatusOr<LogProof> {
    return north_.Show(1, question.seen_size);
  };
  EXPECT_THAT(witness_.Look(link_, {}), HasCode(kContradicted));
}

// Who accepts, holds the lock from reading to writing; so does a check.
TEST_F(LogWitnessTest, JudgesNothingWhileSomebodyAccepts) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Start(), IsOk());
  north_ = backup;
  ASSERT_THAT(Start(), HasCode(kRefused));
  std::optional<FileLock> lock = Seen().Lock().value();
  std::latch asked(1);
  link_.answer = [&](const LogQuestion& question) {
    if (question.seen_size == 4) asked.count_down();
    return north_.Prove(question);
  };
  absl::Status outcome;
  std::thread checking([&] { outcome = Start(); });
  asked.wait();
  ASSERT_THAT(Seen().Accept(clock_.Now()), IsOk());
  lock.reset();
  checking.join();
  EXPECT_THAT(outcome, IsOk()) << "it goes on from what was accepted";
  EXPECT_THAT(FilesInFolder(), ::testing::Not(Contains("log_checkpoint.refused.json")));
}

TEST_F(LogWitnessTest, GoesOnFromALogThatAnAdministratorHasAccepted) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  const CoordinatorLog lost = north_;
  north_ = backup;
  ASSERT_THAT(Start(), HasCode(kRefused));
  ASSERT_THAT(Seen().Accept(clock_.Now()), IsOk());
  EXPECT_THAT(Start(), IsOk()) << "without a restart";
  north_.Append(Opened(1, 1, "another adapter"));
  EXPECT_THAT(Open(1, 1, "another adapter"), IsOk());
  north_ = lost;
  EXPECT_THAT(Open(1), HasCode(kRefused)) << "that one is another log now";
}

TEST_F(LogWitnessTest, RefusesALogThatGoesOnFromAnotherThanTheAcceptedOne) {
  CoordinatorLog third = north_;
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  north_ = backup;
  north_.Append(Opened(1, 1, "second"));
  ASSERT_THAT(Start(), HasCode(kRefused));
  ASSERT_THAT(Seen().Accept(clock_.Now()), IsOk());
  third.Append(Opened(1, 1, "third"));
  third.Append(Opened(1, 2, "third"));
  north_ = third;
  EXPECT_THAT(Start(), HasCode(kRefused));
}

TEST_F(LogWitnessTest, LeavesNothingToAcceptOnceTheLogGoesOnAgain) {
  const CoordinatorLog backup = north_;
  north_.Append(Opened(1));
  ASSERT_THAT(Open(1), IsOk());
  const CoordinatorLog good = north_;
  north_ = backup;
  ASSERT_THAT(Start(), HasCode(kRefused));
  north_ = good;
  EXPECT_THAT(Start(), IsOk());
  EXPECT_THAT(Seen().Accept(clock_.Now()), HasCode(kRefused));
  EXPECT_THAT(FilesInFolder(), Contains(HasSubstr("refused-until")));
}

TEST_F(LogWitnessTest, RefusesALogThatAnotherAuthoritysCoordinatorHasSigned) {
  CoordinatorLog forged(std::make_shared<LogSigner>());
  forged.Append(Started());
  north_ = forged;
  EXPECT_THAT(Start(), HasCode(kContradicted));
  EXPECT_EQ(SeenSize(), 0);
  EXPECT_THAT(Seen().Accept(clock_.Now()), HasCode(kRefused)) << "there is nothing to accept";
}

TEST_F(LogWitnessTest, RefusesAnEntryThatIsNotInTheLog) {
  CoordinatorLog other(signer_);
  other.Append(Started());
  link_.answer = [&](const LogQuestion& question) {
    absl::StatusOr<LogProof> proof = north_.Prove(question);
    proof->entry = other.Show(0, 0).entry;
    return proof;
  };
  EXPECT_THAT(Start(), HasCode(kContradicted));
  EXPECT_EQ(SeenSize(), 0);
}

TEST_F(LogWitnessTest, RefusesARunThatTheLogHasWithAnotherPlanLayoutOrBaseModel) {
  for (const auto& change : std::vector<std::function<void(Invitation&)>>{
           [](Invitation& invitation) { invitation.plan_toml += " "; },
           [](Invitation& invitation) { invitation.layout_json += " "; },
           [](Invitation& invitation) { invitation.base_digest = "sha256:0"; }}) {
    Invitation invitation = kInvitation;
    change(invitation);
    EXPECT_THAT(witness_.CheckStarted(invitation, link_, {}), HasCode(kContradicted));
  }
  EXPECT_EQ(SeenSize(), 3) << "the coordinator has said so, and signed it";
}

TEST_F(LogWitnessTest, RefusesARoundThatTheLogHasWithAnotherAdapter) {
  EXPECT_THAT(Open(0, 1, "another adapter"), HasCode(kContradicted));
}

TEST_F(LogWitnessTest, RefusesTheEntryOfAnotherAttemptRoundOrRun) {
  north_.Append(Opened(0, 2));
  const auto shows = [this](uint64_t index) {
    link_.answer = [this, index](const LogQuestion& question) -> absl::StatusOr<LogProof> {
      return north_.Show(index, question.seen_size);
    };
  };
  shows(2);
  EXPECT_THAT(Open(0, 1), IsOk());
  EXPECT_THAT(Open(0, 2), HasCode(kContradicted));
  EXPECT_THAT(Open(1, 1), HasCode(kContradicted));
  EXPECT_THAT(Start(), HasCode(kContradicted));
  shows(1);
  EXPECT_THAT(Start(), IsOk());
  EXPECT_THAT(Open(0, 1), HasCode(kContradicted));
  Invitation other = kInvitation;
  other.run = "run-0072";
  EXPECT_THAT(witness_.CheckStarted(other, link_, {}), HasCode(kContradicted));
}

TEST_F(LogWitnessTest, SaysThatTheLogHasNothingOfAnAttempt) {
  EXPECT_THAT(Open(7), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(LogWitnessTest, TakesPartWithoutALogUntilItHasSeenOne) {
  const LogLink::Answer with_log = link_.answer;
  link_.answer = [](const LogQuestion&) { return absl::UnimplementedError("no such call"); };
  EXPECT_THAT(Start(), IsOk());
  EXPECT_THAT(Open(0), IsOk());
  EXPECT_THAT(lines_, SizeIs(1)) << "it is said once";
  link_.answer = with_log;
  EXPECT_THAT(Open(0), IsOk());
  link_.answer = [](const LogQuestion&) { return absl::UnimplementedError("no such call"); };
  EXPECT_THAT(Open(0), HasCode(kRefused));
}

TEST_F(LogWitnessTest, DoesNotTakeADamagedFileForAFirstTime) {
  ASSERT_THAT(Start(), IsOk());
  const std::filesystem::path file = Seen().believed_file();
  for (const std::string& damage : {std::string(), std::string("{}"), std::string("\xff\x00", 2),
                                    ReadFile(file)->substr(0, 100)}) {
    ASSERT_THAT(WriteFileAtomically(file, damage), IsOk());
    const absl::Status refused = Start();
    EXPECT_THAT(refused, HasCode(kRefused));
    EXPECT_THAT(std::string(Message(refused)),
                AllOf(HasSubstr(file.string()), HasSubstr("fedtune-client log accept")));
    EXPECT_EQ(*ReadFile(file), damage);
  }
  const auto accepted = Seen().Accept(clock_.Now());
  ASSERT_THAT(accepted, IsOk());
  EXPECT_THAT(accepted->before, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Start(), IsOk());
}

TEST_F(LogWitnessTest, IsStopped) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(witness_.CheckStarted(kInvitation, link_, stop.get_token()),
              HasCode(absl::StatusCode::kCancelled));
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(LogWitnessTest, SaysThatWhatItHasSeenCannotBeStored) {
  std::filesystem::create_directory(Seen().believed_file());
  EXPECT_FALSE(Start().ok());
}

// Study sees the log grow while Work's answer, of before, is under way.
TEST_F(LogWitnessTest, DoesNotStoreAnOlderHeadOverANewerOne) {
  ASSERT_THAT(Start(), IsOk());
  int questions = 0;
  link_.answer = [&](const LogQuestion& question) {
    absl::StatusOr<LogProof> proof = north_.Prove(question);
    if (++questions == 1) {
      LogLink of_study;
      of_study.answer = [&](const LogQuestion& other) { return north_.Prove(other); };
      north_.Append(Opened(1));
      EXPECT_THAT(witness_.CheckStarted(kInvitation, of_study, {}), IsOk());
    }
    return proof;
  };
  EXPECT_THAT(Open(0), IsOk());
  EXPECT_EQ(questions, 2) << "it asks anew, from what was seen meanwhile";
  EXPECT_EQ(SeenSize(), 4);
}

// Two faces of a log, of which each of two checks at once sees one.
TEST_F(LogWitnessTest, FindsTheTwoFacesOfALogInTwoChecksAtOnce) {
  CoordinatorLog other = north_;
  north_.Append(Opened(1));
  other.Append(Opened(1, 1, "another adapter"));
  std::latch asked(2);
  const auto check = [&](const CoordinatorLog& face, absl::Status& outcome) {
    LogLink link;
    bool first = true;
    link.answer = [&](const LogQuestion& question) {
      if (std::exchange(first, false)) asked.arrive_and_wait();
      return face.Prove(question);
    };
    outcome = witness_.CheckStarted(kInvitation, link, {});
  };
  absl::Status study;
  absl::Status work;
  std::thread studying([&] { check(north_, study); });
  std::thread working([&] { check(other, work); });
  studying.join();
  working.join();
  EXPECT_NE(study.ok(), work.ok());
  EXPECT_THAT(study.ok() ? work : study, HasCode(kRefused));
}

}  // namespace
}  // namespace fedtune
