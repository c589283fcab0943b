// SPDX-License-Identifier: Apache-2.0

#include "client/round/local_workshop.h"

#include <filesystem>
#include <functional>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/training/step_error.h"
#include "gmock/gmock.h"
#include "plan/adapter_targets.h"
#include "tests/support/coordinator_log.h"
#include "tests/support/fake_clock.h"
#include "tests/support/local_workshop_fixture.h"
#include "tests/support/small_disk.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::fedtune::testing::kModel;
using ::fedtune::testing::kPlan;
using ::fedtune::testing::kRoutedExperts;
using ::fedtune::testing::LocalWorkshopTest;

// The same, aggregated securely.
std::string SecurePlanText() {
  std::string text = kPlan;
  return text.replace(text.find("plain"), 5, "secure");
}

TEST_F(LocalWorkshopTest, AcceptsWithTheNumberOfItsRecords) {
  EXPECT_EQ(Study(workshop_),
            (InvitationAnswer{.run = "run-1", .accepted = true, .example_count = 1}));
}

TEST_F(LocalWorkshopTest, DeclinesWithTheReason) {
  invitation_.base_digest = "sha256:77ab";
  const InvitationAnswer answer = Study(workshop_);
  EXPECT_FALSE(answer.accepted);
  EXPECT_EQ(answer.reason, "base model sha256:77ab is not on its machine");
  EXPECT_TRUE(answer.may_pass) << "its disk may be mounted later";
}

TEST_F(LocalWorkshopTest, DeclinesForGoodWhatCannotBeTrainedAtAll) {
  invitation_.plan_toml = "no plan";
  EXPECT_FALSE(Study(workshop_).may_pass);
}

TEST_F(LocalWorkshopTest, KeepsTheContributionOfTheLastRound) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  ASSERT_NE(workshop_.Kept(IdOf(0)), nullptr);
  EXPECT_EQ(workshop_.Kept(IdOf(0))->id, IdOf(0));
  ASSERT_THAT(Work(1), IsOk());
  EXPECT_EQ(workshop_.Kept(IdOf(0)), nullptr);
  EXPECT_NE(workshop_.Kept(IdOf(1)), nullptr);
}

TEST_F(LocalWorkshopTest, DoesNothingAgainForAnotherAttempt) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  const AttemptId second{.run = "run-1", .round = 0, .attempt = 2};
  ASSERT_THAT(workshop_.Work(AssignmentOf(second), link_, control_, [](const WorkProgress&) {}),
              IsOk());
  EXPECT_EQ(trainings_, 1);
  ASSERT_NE(workshop_.Kept(second), nullptr);
  EXPECT_EQ(workshop_.Kept(second)->id, second);
  EXPECT_EQ(workshop_.Kept(IdOf(0)), nullptr);
}

TEST_F(LocalWorkshopTest, DoesNoWorkForARoundThatThePlanDoesNotHave) {
  Study(workshop_);
  for (const int64_t round : {int64_t{3}, int64_t{1} << 60, int64_t{1} << 62}) {
    EXPECT_THAT(Work(round), HasCode(absl::StatusCode::kInvalidArgument)) << round;
  }
  EXPECT_EQ(loads_, 0);
  EXPECT_EQ(trainings_, 0);
}

TEST_F(LocalWorkshopTest, TrainsNoFactorsButThePlans) {
  Study(workshop_);
  EXPECT_THAT(workshop_.Work({.id = IdOf(0), .factors = FactorSet::kA, .evaluate = true}, link_,
                             control_, [](const WorkProgress&) {}),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(trainings_, 0);
}

TEST_F(LocalWorkshopTest, EvaluatesInNoRoundButThePlans) {
  Study(workshop_);
  EXPECT_THAT(workshop_.Work({.id = IdOf(1), .evaluate = true}, link_, control_,
                             [](const WorkProgress&) {}),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(trainings_, 0);
}

TEST_F(LocalWorkshopTest, TrainsAgainFromAnotherAdapter) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  Assignment other = AssignmentOf(IdOf(0));
  other.id.attempt = 2;
  other.adapter.bytes.fill(1);
  ASSERT_THAT(workshop_.Work(other, link_, control_, [](const WorkProgress&) {}), IsOk());
  EXPECT_EQ(trainings_, 2);
}

TEST_F(LocalWorkshopTest, HandsInWhatAnEarlierProcessWorkedOut) {
  for (const int64_t attempt : {1, 1, 2}) {
    LocalWorkshop process(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(process);
    const AttemptId id{.run = "run-1", .round = 0, .attempt = attempt};
    ASSERT_THAT(process.Work(AssignmentOf(id), link_, control_, [](const WorkProgress&) {}),
                IsOk());
    ASSERT_NE(process.Kept(id), nullptr);
    EXPECT_EQ(process.Kept(id)->id, id);
    EXPECT_EQ(process.Kept(id)->metrics.steps, 1);
    EXPECT_EQ(process.Kept(id)->layout, Sha256Of(invitation_.layout_json));
  }
  EXPECT_EQ(trainings_, 1);
  EXPECT_EQ(loads_, 1) << "nor is a base model loaded for it";
}

TEST_F(LocalWorkshopTest, HasNoUseForWhatWasWorkedOutOnOtherRecords) {
  for (int i = 0; i < 2; ++i) {
    records_.training[0].tokens[0] = i + 1;
    LocalWorkshop process(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(process);
    ASSERT_THAT(process.Work(AssignmentOf(IdOf(0)), link_, control_, [](const WorkProgress&) {}),
                IsOk());
  }
  EXPECT_EQ(trainings_, 2);
}

TEST_F(LocalWorkshopTest, StoresNothingOfARunThatIsDiscarded) {
  for (int i = 0; i < 2; ++i) {
    LocalWorkshop process(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(process);
    ASSERT_THAT(process.Work(AssignmentOf(IdOf(0)), link_, control_, [](const WorkProgress&) {}),
                IsOk());
    i == 0 ? process.Discard("run-1") : process.KeepOnly({"run-2"});
  }
  EXPECT_EQ(trainings_, 2);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "rounds"));
}

// As processes do that lose their GPU: each of them ends.
TEST_F(LocalWorkshopTest, GivesUpAnAttemptInWhichTheDeviceWasLostTwice) {
  on_gpu_ = true;
  failure_ = absl::AbortedError("the GPU is lost");
  AttemptId id = IdOf(1);
  const auto work = [&] {
    LocalWorkshop process(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(process);
    return process.Work(AssignmentOf(id), link_, control_, [](const WorkProgress&) {});
  };
  EXPECT_THAT(work(), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(work(), HasCode(absl::StatusCode::kAborted));
  const absl::Status given_up = work();
  EXPECT_THAT(given_up, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(given_up),
            "the GPU was lost 2 times in this attempt, which is given up; the log says how");
  EXPECT_EQ(trainings_, 2);
  id.attempt = 2;
  EXPECT_THAT(work(), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(trainings_, 3);
}

TEST_F(LocalWorkshopTest, GoesOnOnTheCpuHoweverOftenTheDeviceWasLost) {
  const auto work = [&] {
    LocalWorkshop process(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(process);
    return process.Work(AssignmentOf(IdOf(1)), link_, control_, [](const WorkProgress&) {});
  };
  on_gpu_ = true;
  failure_ = absl::AbortedError("the GPU is lost");
  EXPECT_THAT(work(), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(work(), HasCode(absl::StatusCode::kAborted));
  on_gpu_ = false;
  failure_ = absl::OkStatus();
  EXPECT_THAT(work(), IsOk());
  EXPECT_EQ(trainings_, 3);
}

TEST_F(LocalWorkshopTest, OtherFailuresAreNoLosses) {
  failure_ = absl::InternalError("the loss is not finite");
  for (int process = 1; process <= 3; ++process) {
    LocalWorkshop workshop(SiteOf(), OpenerOf(), std::nullopt, Keeper());
    Study(workshop);
    EXPECT_THAT(workshop.Work(AssignmentOf(IdOf(1)), link_, control_, [](const WorkProgress&) {}),
                HasCode(absl::StatusCode::kInternal));
    EXPECT_EQ(trainings_, process);
  }
}

TEST_F(LocalWorkshopTest, LoadsTheBaseModelOnce) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  ASSERT_THAT(Work(1), IsOk());
  EXPECT_EQ(loads_, 1);
}

TEST_F(LocalWorkshopTest, HandsInWhatIsKept) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  const auto outcome = workshop_.Submit(IdOf(0), link_, {});
  ASSERT_TRUE(outcome.has_value());
  EXPECT_THAT(*outcome, IsOk());
  EXPECT_THAT(*workshop_.Submit(IdOf(1), link_, {}),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(LocalWorkshopTest, SaysInWhichStepATrainingHasFailed) {
  failure_ = InStep(7, absl::InternalError("the loss is not a finite number"));
  Study(workshop_);
  EXPECT_EQ(Message(Work(0)), "step 7: the loss is not a finite number");
}

// A workshop of an institution that can sign.
class SecureWorkshopTest : public LocalWorkshopTest {
 protected:
  SecureWorkshopTest()
      : workshop_(SecureSiteOf(), OpenerOf(), *SessionJournal::Open(":memory:", *key_)) {
    invitation_.plan_toml = SecurePlanText();
  }

  Site SecureSiteOf() {
    return {.institution = "st-anna",
            .policy = {},
            .base_models = shelf_,
            .load_records = [this](const auto&, const auto&) { return records_; },
            .join_secure_run = [this](std::string_view,
                                      CipherSuite) -> absl::StatusOr<SecureMembership> {
              return SecureMembership{.federation = "north",
                                      .roster = {},
                                      .number = 1,
                                      .key = key_,
                                      .signing_keys = {{1, key_->public_key()}}};
            },
            .observe_refusal =
                [this](const std::string&, const absl::Status& why) {
                  observed_.emplace_back(Message(why));
                }};
  }

  // How many sessions have a secret in the journal.
  static int64_t OpenSessionsIn(const std::filesystem::path& file) {
    const auto database = SqliteDatabase::OpenToRead(file);
    auto count = database->Prepare("SELECT COUNT(secret) FROM sessions");
    EXPECT_THAT(count->Step(), IsOk());
    return count->Int64(0);
  }

  // Does the work of an attempt in a process of its own, and returns the first
  // message of its aggregation.
  Bytes AdvertisementOf(const AttemptId& id) {
    LocalWorkshop process(SecureSiteOf(), OpenerOf(),
                          *SessionJournal::Open(folder_.path() / "sessions.db", *key_), Keeper());
    Study(process);
    EXPECT_THAT(process.Work(AssignmentOf(id), link_, control_, [](const WorkProgress&) {}),
                IsOk());
    EXPECT_EQ(process.Submit(id, link_, {}), std::nullopt);
    return link_.said;
  }

  const std::shared_ptr<const SigningKey> key_ =
      std::make_shared<const SigningKey>(SigningKey::Generate(CipherSuite::kCurve25519));
  std::vector<std::string> observed_;
  LocalWorkshop workshop_;
};

// It would be the least number of steps, which follows from that of the records.
TEST_F(SecureWorkshopTest, TheStepInWhichATrainingHasFailedIsForTheLogAlone) {
  failure_ = InStep(7, absl::InternalError("the loss is not a finite number"));
  Study(workshop_);
  const absl::Status told =
      workshop_.Work(AssignmentOf(IdOf(0)), link_, control_, [](const WorkProgress&) {});
  EXPECT_EQ(Message(told), "the loss is not a finite number");
  EXPECT_THAT(observed_, ::testing::ElementsAre("step 7: the loss is not a finite number"));
}

TEST_F(SecureWorkshopTest, AcceptsWithoutTheNumberOfItsRecords) {
  EXPECT_EQ(Study(workshop_), (InvitationAnswer{.run = "run-1", .accepted = true, .secure = true}));
}

TEST_F(SecureWorkshopTest, AdvertisesAndWaits) {
  Study(workshop_);
  ASSERT_THAT(workshop_.Work(AssignmentOf(IdOf(0)), link_, control_, [](const WorkProgress&) {}),
              IsOk());
  EXPECT_EQ(workshop_.Submit(IdOf(0), link_, {}), std::nullopt);
  EXPECT_EQ(link_.said.at(0), 1) << "an advertisement";
  const auto outcome = workshop_.Answer(AssignmentOf(IdOf(0)), {99}, link_, {});
  ASSERT_TRUE(outcome.has_value());
  EXPECT_THAT(*outcome, HasCode(absl::StatusCode::kAborted));
}

TEST_F(SecureWorkshopTest, AnEarlierProcessResultIsHandedInWithTheAttemptsOwnKeys) {
  const Bytes said = AdvertisementOf(IdOf(0));
  EXPECT_EQ(AdvertisementOf(IdOf(0)), said);
  EXPECT_NE(AdvertisementOf({.run = "run-1", .round = 0, .attempt = 2}), said);
  EXPECT_EQ(trainings_, 1);
}

TEST_F(SecureWorkshopTest, TakesUpNoAggregationThatHasEnded) {
  Study(workshop_);
  ASSERT_THAT(workshop_.Work(AssignmentOf(IdOf(0)), link_, control_, [](const WorkProgress&) {}),
              IsOk());
  workshop_.Submit(IdOf(0), link_, {});
  ASSERT_THAT(workshop_.EndAggregation("run-1"), IsOk());
  const auto outcome = workshop_.Submit(IdOf(0), link_, {});
  ASSERT_TRUE(outcome.has_value());
  EXPECT_THAT(*outcome, HasCode(absl::StatusCode::kAborted));
}

TEST_F(SecureWorkshopTest, DoesNoWorkForAnAggregationThatHasEnded) {
  Study(workshop_);
  const auto work = [this](const AttemptId& id) {
    return workshop_.Work(AssignmentOf(id), link_, control_, [](const WorkProgress&) {});
  };
  ASSERT_THAT(work(IdOf(0)), IsOk());
  workshop_.Submit(IdOf(0), link_, {});
  ASSERT_THAT(workshop_.EndAggregation("run-1"), IsOk());
  EXPECT_THAT(work(IdOf(0)), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(work(IdOf(1)), IsOk());
}

// As when a client was killed within an aggregation of a run that has ended since.
TEST_F(SecureWorkshopTest, KeepsNoSessionOfAnEarlierProcessWhoseRunHasEnded) {
  const std::filesystem::path file = folder_.path() / "sessions.db";
  AdvertisementOf(IdOf(0));
  ASSERT_EQ(OpenSessionsIn(file), 1);
  LocalWorkshop process(SecureSiteOf(), OpenerOf(), *SessionJournal::Open(file, *key_), Keeper());
  ASSERT_THAT(process.EndAggregationsBut({"run-1"}), IsOk());
  EXPECT_EQ(OpenSessionsIn(file), 1);
  ASSERT_THAT(process.EndAggregationsBut({"run-2"}), IsOk());
  EXPECT_EQ(OpenSessionsIn(file), 0);
}

TEST_F(SecureWorkshopTest, PassesOverMessagesOfAnAggregationThatNeverBegan) {
  Study(workshop_);
  EXPECT_EQ(workshop_.Answer(AssignmentOf(IdOf(0)), {99}, link_, {}), std::nullopt);
}

TEST_F(LocalWorkshopTest, ForgetsARun) {
  Study(workshop_);
  ASSERT_THAT(Work(0), IsOk());
  workshop_.Forget("run-1");
  EXPECT_EQ(workshop_.Kept(IdOf(0)), nullptr);
  EXPECT_THAT(Work(1), HasCode(absl::StatusCode::kCancelled));
}

// With an eye on the log of a coordinator that has opened the run's first round.
class WitnessedWorkshopTest : public LocalWorkshopTest {
 protected:
  WitnessedWorkshopTest() {
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "authority.pem", signer_->authority()),
                IsOk());
    log_of_north_.Append(RunStarted{.run = "run-1",
                                    .plan = Sha256Of(kPlan),
                                    .layout = Sha256Of(invitation_.layout_json),
                                    .base_digest = invitation_.base_digest,
                                    .adapter = {},
                                    .started_by = "anna"});
    log_of_north_.Append(RoundOpened{.run = "run-1", .round = 0, .attempt = 1, .adapter = {}});
    line_.answer = [this](const LogQuestion& question) { return log_of_north_.Prove(question); };
  }

  LocalWorkshop Process() { return ProcessWith(witness_); }
  LocalWorkshop ProcessWith(LogWitness& witness) {
    Site site = SiteOf();
    site.log_witness = &witness;
    return LocalWorkshop(std::move(site), OpenerOf(), std::nullopt, Keeper());
  }
  InvitationAnswer StudyIn(LocalWorkshop& process) {
    return *process.Study(invitation_, line_, {});
  }
  absl::Status WorkIn(LocalWorkshop& process, int64_t attempt = 1) {
    return process.Work(AssignmentOf({.run = "run-1", .round = 0, .attempt = attempt}), line_,
                        control_, [](const WorkProgress&) {});
  }

  std::shared_ptr<const testing::LogSigner> signer_ = std::make_shared<testing::LogSigner>();
  testing::CoordinatorLog log_of_north_{signer_};
  testing::LogLink line_;
  LogWitness witness_{SeenLog(folder_.path(), folder_.path() / "authority.pem"), clock_, log_};
};

TEST_F(WitnessedWorkshopTest, WorksForARoundThatTheLogHas) {
  LocalWorkshop process = Process();
  EXPECT_TRUE(StudyIn(process).accepted);
  EXPECT_THAT(WorkIn(process), IsOk());
  EXPECT_EQ(trainings_, 1);
}

TEST_F(WitnessedWorkshopTest, DeclinesARunThatTheLogHasWithAnotherPlan) {
  LocalWorkshop process = Process();
  invitation_.plan_toml += "# for st-anna only";
  invitation_.base_digest = "sha256:77ab";
  const InvitationAnswer answer = StudyIn(process);
  EXPECT_FALSE(answer.accepted);
  EXPECT_THAT(answer.reason, ::testing::HasSubstr("log")) << "it looks for no base model before";
  EXPECT_TRUE(answer.may_pass);
  EXPECT_TRUE(answer.passes_by_hand);
}

TEST_F(WitnessedWorkshopTest, FetchesAndTrainsNothingForARoundThatTheLogDoesNotHave) {
  LocalWorkshop process = Process();
  StudyIn(process);
  EXPECT_THAT(WorkIn(process, 2), HasCode(absl::StatusCode::kNotFound));
  EXPECT_EQ(loads_, 0);
  EXPECT_EQ(line_.fetches, 0);
  EXPECT_EQ(trainings_, 0);
}

TEST_F(WitnessedWorkshopTest, PutsWorkOffWhileTheDiskHasNoRoomForWhatTheLogShows) {
  const testing::SmallDisk disk(folder_.path(), "64k");
  if (!disk.stands()) GTEST_SKIP() << "nothing may be mounted";
  LogWitness witness(SeenLog(disk.path(), folder_.path() / "authority.pem"), clock_, log_);
  LocalWorkshop process = ProcessWith(witness);
  ASSERT_TRUE(StudyIn(process).accepted);
  disk.Fill();
  EXPECT_THAT(WorkIn(process), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(trainings_, 0);
  disk.Empty();
  EXPECT_THAT(WorkIn(process), IsOk());
  EXPECT_EQ(trainings_, 1);
}

TEST_F(WitnessedWorkshopTest, TakesNothingAgainForARoundThatTheLogDoesNotHave) {
  LocalWorkshop process = Process();
  StudyIn(process);
  ASSERT_THAT(WorkIn(process), IsOk());
  EXPECT_THAT(WorkIn(process, 2), HasCode(absl::StatusCode::kNotFound)) << "what is in memory";
  LocalWorkshop next = Process();
  StudyIn(next);
  EXPECT_THAT(WorkIn(next, 2), HasCode(absl::StatusCode::kNotFound)) << "what is on the disk";
  EXPECT_EQ(next.Kept({.run = "run-1", .round = 0, .attempt = 2}), nullptr);
  log_of_north_.Append(RoundOpened{.run = "run-1", .round = 0, .attempt = 2, .adapter = {}});
  EXPECT_THAT(WorkIn(next, 2), IsOk());
  EXPECT_EQ(trainings_, 1);
}

TEST_F(WitnessedWorkshopTest, GivesNoAnswerWhenItIsStopped) {
  LocalWorkshop process = Process();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(process.Study(invitation_, line_, stop.get_token()), std::nullopt);
}

}  // namespace
}  // namespace fedtune
