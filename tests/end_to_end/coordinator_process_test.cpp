// SPDX-License-Identifier: Apache-2.0

// What only a process of its own can show of the coordinator: signals, locks, ends.

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/server_fixture.h"

namespace fedtune {
namespace {

using testing::ChildProcess;
using testing::FakeClient;
using testing::HasGrpcCode;
using ::testing::HasSubstr;
using testing::IsGrpcOk;
using testing::IsOk;
using testing::ServerTest;

constexpr absl::Duration kSoon = absl::Seconds(20);

// A ServerTest whose server is another process.
class CoordinatorProcessTest : public ServerTest {
 protected:
  CoordinatorProcessTest() {
    server_.reset();
    Start();
  }

  std::unique_ptr<ChildProcess> NewProcess(std::string_view name) const {
    return std::make_unique<ChildProcess>(
        std::vector<std::string>{
            FEDTUNE_COORDINATOR, "serve", "--listen", "127.0.0.1:0", "--state-dir",
            State().string(), "--certificate", credentials_.certificate.string(), "--key",
            credentials_.key.string(), "--authority", credentials_.authority.string()},
        directory_.path() / fmt::format("{}.log", name));
  }

  void Start() {
    coordinator_ = NewProcess("coordinator");
    const std::string line = coordinator_->ReadLine();
    ASSERT_THAT(line, ::testing::StartsWith("listening on ")) << coordinator_->Errors();
    port_ = std::stoi(line.substr(line.rfind(':') + 1));
  }

  std::filesystem::path State() const { return directory_.path() / "state"; }

  std::shared_ptr<grpc::Channel> Connect(Role role, std::string_view name) const {
    return federation_.Connect(port_, federation_.Issue(role, name));
  }

  grpc::Status TryToStartRun() const {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    return v1::Administration::NewStub(Connect(Role::kAdministrator, "grace"))
        ->StartRun(&context, StartRequest(2, 1), &response);
  }

  std::unique_ptr<ChildProcess> coordinator_;
  int port_ = 0;
};

TEST_F(CoordinatorProcessTest, ASecondOneIsToldWhoHasTheDirectory) {
  const auto second = NewProcess("second");
  EXPECT_EQ(second->Wait(kSoon), 1);
  EXPECT_THAT(second->Errors(), HasSubstr(fmt::format("{} is in use by process {} on ",
                                                      State().string(), coordinator_->pid())));
  EXPECT_THAT(second->Errors(), HasSubstr("stop that one"));
  EXPECT_EQ(coordinator_->Wait(absl::ZeroDuration()), std::nullopt);
}

TEST_F(CoordinatorProcessTest, AKilledOneKeepsNobodyOut) {
  coordinator_->Signal(SIGKILL);
  ASSERT_EQ(coordinator_->Wait(kSoon), 128 + SIGKILL);
  Start();
}

TEST_F(CoordinatorProcessTest, OneThatRootStartsAmongTheFilesOfAnotherUserSaysSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be told so";
  coordinator_->Signal(SIGKILL);
  ASSERT_EQ(coordinator_->Wait(kSoon), 128 + SIGKILL);
  constexpr uid_t kNobody = 65534;
  ASSERT_EQ(::chown((State() / kDatabaseName).c_str(), kNobody, kNobody), 0);
  const auto by_root = NewProcess("by_root");
  EXPECT_THAT(by_root->ReadLine(), ::testing::StartsWith("listening on "));
  EXPECT_THAT(by_root->Errors(), HasSubstr("run this as that user"));
}

TEST_F(CoordinatorProcessTest, OneWhoseDirectoryIsReplacedEnds) {
  FakeClient berta(Connect(Role::kClient, "berta"));
  berta.SayHello();
  ASSERT_TRUE(berta.Receive().has_welcome());
  const std::filesystem::path elsewhere = directory_.path() / "elsewhere";
  coordinator_->Pause();
  std::filesystem::rename(State(), elsewhere);
  std::filesystem::copy(elsewhere, State());
  coordinator_->Signal(SIGCONT);
  EXPECT_THAT(TryToStartRun(), HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
  EXPECT_EQ(coordinator_->Wait(kSoon), 1);
  EXPECT_THAT(coordinator_->Errors(), HasSubstr("was moved, removed or replaced"));
}

// As an administrator does it.
TEST_F(CoordinatorProcessTest, ABackupOfARunningOneIsRestoredAndServed) {
  const auto run = [this](std::vector<std::string> words) {
    words.insert(words.begin(), FEDTUNE_COORDINATOR);
    auto process = std::make_unique<ChildProcess>(words, directory_.path() / "command.log");
    EXPECT_TRUE(process->Wait(kSoon).has_value());
    return process;
  };
  FakeClient berta(Connect(Role::kClient, "berta"));
  berta.SayHello();
  ASSERT_TRUE(berta.Receive().has_welcome());
  ASSERT_THAT(TryToStartRun(), IsGrpcOk());
  const auto backup = run({"backup", "--state-dir", State().string(), "--backup-dir",
                           (directory_.path() / "safe").string()});
  ASSERT_EQ(backup->Wait(kSoon), 0) << backup->Errors();
  const std::string made = backup->ReadLine();

  coordinator_->Signal(SIGKILL);
  coordinator_->Wait(kSoon);
  const auto occupied = run({"restore", "--from", made, "--state-dir", State().string()});
  EXPECT_EQ(occupied->Wait(kSoon), 1);
  EXPECT_THAT(occupied->Errors(), HasSubstr("is not empty"));
  std::filesystem::resize_file(State() / "fedtune.sqlite", 10'000);
  const auto damaged = run({"check", "--state-dir", State().string()});
  EXPECT_EQ(damaged->Wait(kSoon), 1);
  EXPECT_THAT(damaged->Errors(), HasSubstr("move all of the folder but keys and backups away"));
  EXPECT_THAT(damaged->ReadLine(), HasSubstr("fedtune.sqlite"));

  std::filesystem::remove_all(State());
  const auto restored = run({"restore", "--from", made, "--state-dir", State().string()});
  ASSERT_EQ(restored->Wait(kSoon), 0) << restored->Errors();
  const auto check = run({"check", "--state-dir", State().string()});
  EXPECT_EQ(check->Wait(kSoon), 0) << check->Errors();
  EXPECT_THAT(check->ReadLine(), HasSubstr("1 runs, 1 blobs"));
  const auto report = run({"check", "--state-dir", State().string(), "--json"});
  EXPECT_EQ(report->Wait(kSoon), 0) << report->Errors();
  EXPECT_THAT(report->ReadLine(), HasSubstr(R"("problems":[],"expiring":[])"));
  std::filesystem::resize_file(std::filesystem::path(made) / "fedtune.sqlite", 10'000);
  const auto of_backup = run({"check", "--state-dir", made});
  EXPECT_EQ(of_backup->Wait(kSoon), 1);
  EXPECT_THAT(of_backup->Errors(), HasSubstr("is damaged; use an older backup"));
  Start();
  grpc::ClientContext context;
  v1::ListRunsResponse runs;
  EXPECT_THAT(v1::Administration::NewStub(Connect(Role::kAdministrator, "grace"))
                  ->ListRuns(&context, {}, &runs),
              IsGrpcOk());
  EXPECT_EQ(runs.runs_size(), 1);
}

// A run that has gone on for many rounds, and goes on.
class HistoryTest : public CoordinatorProcessTest {
 protected:
#ifdef FEDTUNE_UNDER_SANITIZER
  static constexpr int kRounds = 1'000;
#else
  static constexpr int kRounds = 10'000;
#endif

  void WriteHistory(const RunId& id) const {
    const auto state = OpenStateDatabase(State() / kDatabaseName);
    ASSERT_THAT(state, IsOk());
    // It is written here, not the test's subject: none of it need survive a power cut.
    ASSERT_THAT((*state)->connection.Execute("PRAGMA synchronous = OFF"), IsOk());
    const auto runs = SqliteRunStore::Open(*state, {.blobs = State() / kBlobsName});
    ASSERT_THAT(runs, IsOk());
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_THAT((*runs)->SaveRelease(id, ReleaseOf(round)), IsOk());
    }
  }

  static NewRelease ReleaseOf(int round) {
    static std::string adapter;
    adapter = Delta(static_cast<float>(round));
    NewRelease release;
    release.record = {.summary = {.round = round, .contributions = 20, .example_count = 100},
                      .adapter = Sha256Of(adapter),
                      .started_at = absl::Now(),
                      .ended_at = absl::Now()};
    for (int client = 0; client < 20; ++client) {
      release.contributions.push_back({.institution = {fmt::format("client-{}", client)},
                                       .sha256 = release.record.adapter,
                                       .weight = 5,
                                       .example_count = 5,
                                       .metrics = {}});
    }
    release.adapter = std::as_bytes(std::span(adapter));
    return release;
  }

  // From the start of the process to its first answer.
  absl::Duration SecondsUntilServed() {
    const absl::Time begin = absl::Now();
    Start();
    grpc::ClientContext context;
    v1::ListRunsResponse runs;
    EXPECT_THAT(v1::Administration::NewStub(Connect(Role::kAdministrator, "grace"))
                    ->ListRuns(&context, {}, &runs),
                IsGrpcOk());
    EXPECT_EQ(runs.runs_size(), 1);
    return absl::Now() - begin;
  }
};

TEST_F(HistoryTest, ACoordinatorServesSoonAfterItsStart) {
  FakeClient berta(Connect(Role::kClient, "berta"));
  berta.SayHello();
  ASSERT_TRUE(berta.Receive().has_welcome());
  grpc::ClientContext context;
  v1::StartRunResponse started;
  ASSERT_THAT(v1::Administration::NewStub(Connect(Role::kAdministrator, "grace"))
                  ->StartRun(&context, StartRequest(2 * kRounds, 1), &started),
              IsGrpcOk());
  berta.Join(5);
  ASSERT_TRUE(berta.Receive().has_round_assignment());
  coordinator_->Signal(SIGKILL);
  coordinator_->Wait(kSoon);
  const absl::Duration mid_round = SecondsUntilServed();
  coordinator_->Signal(SIGKILL);
  coordinator_->Wait(kSoon);
  WriteHistory({started.run().run_id()});
  const absl::Duration with_history = SecondsUntilServed();
  fmt::print("served {} after the start within a round, {} after it with {} rounds of history\n",
             absl::FormatDuration(mid_round), absl::FormatDuration(with_history), kRounds);
  EXPECT_LT(mid_round, absl::Seconds(2));
  EXPECT_LT(with_history, absl::Seconds(5));
  FakeClient again(Connect(Role::kClient, "berta"));
  again.SayHello();
  ASSERT_TRUE(again.Receive().has_welcome());
  v1::CoordinatorMessage next = again.Receive();
  if (next.has_run_invitation()) next = again.Receive();
  EXPECT_EQ(next.round_assignment().round(), kRounds);
}

// A client of a run, in the middle of handing in what it has trained.
class DrainTest : public CoordinatorProcessTest {
 protected:
  DrainTest() : berta_(Connect(Role::kClient, "berta")) {
    berta_.SayHello();
    EXPECT_TRUE(berta_.Receive().has_welcome());
    EXPECT_THAT(TryToStartRun(), IsGrpcOk());
    berta_.Join(5);
    const v1::RoundAssignment work = berta_.Receive().round_assignment();
    upload_ = berta_.stub().SubmitContribution(&upload_context_, &uploaded_);
    v1::SubmitContributionRequest part;
    *part.mutable_header() = berta_.HeaderFor(work, Delta(1));
    EXPECT_TRUE(upload_->Write(part));
    // The header has arrived when this has been answered.
    EXPECT_EQ(berta_.Fetch(work.adapter_sha256()).size(), Delta(1).size());
  }

  void ExpectTold() {
    while (berta_.Receive().message_case() != v1::CoordinatorMessage::MESSAGE_NOT_SET) {
    }
    const grpc::Status end = berta_.End();
    EXPECT_THAT(end, HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
    EXPECT_THAT(end.error_message(), HasSubstr("shutting down"));
  }

  grpc::Status FinishUpload() {
    v1::SubmitContributionRequest part;
    part.mutable_chunk()->set_data(Delta(1));
    upload_->Write(part);
    upload_->WritesDone();
    return upload_->Finish();
  }

  FakeClient berta_;
  grpc::ClientContext upload_context_;
  v1::SubmitContributionResponse uploaded_;
  std::unique_ptr<grpc::ClientWriter<v1::SubmitContributionRequest>> upload_;
};

TEST_F(DrainTest, LetsAnUploadFinishAndTakesNothingElseOn) {
  coordinator_->Signal(SIGTERM);
  ExpectTold();
  // A call that came in just before it closed the door is still answered.
  const absl::Time patience = absl::Now() + absl::Seconds(15);
  grpc::Status start = TryToStartRun();
  while (start.ok() && absl::Now() < patience) start = TryToStartRun();
  EXPECT_THAT(start, HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
  EXPECT_EQ(coordinator_->Wait(absl::Milliseconds(300)), std::nullopt);
  EXPECT_THAT(FinishUpload(), IsGrpcOk());
  EXPECT_EQ(coordinator_->Wait(kSoon), 0);
  EXPECT_THAT(coordinator_->Errors(), HasSubstr("coordinator has stopped"));
}

TEST_F(DrainTest, WaitsForNobodyLongerThanThirtySeconds) {
  const absl::Time asked = absl::Now();
  coordinator_->Signal(SIGTERM);
  ExpectTold();
  EXPECT_EQ(coordinator_->Wait(absl::Seconds(30)), 0);
  EXPECT_GT(absl::Now() - asked, absl::Seconds(15));
  EXPECT_FALSE(FinishUpload().ok());
}

// At half a byte a second. Nobody else is in its way, but a spool has an end.
TEST_F(DrainTest, AnUploadThatComesTooSlowlyIsCutOffAndMayComeAgain) {
  const std::string bytes = Delta(1);
  ASSERT_GT(bytes.size(), 16);
  const absl::Time begin = absl::Now();
  for (size_t at = 0; at < bytes.size(); ++at) {
    v1::SubmitContributionRequest part;
    part.mutable_chunk()->set_offset(at);
    part.mutable_chunk()->set_data(bytes.substr(at, 1));
    if (!upload_->Write(part)) break;
    absl::SleepFor(absl::Seconds(2));
  }
  const grpc::Status end = upload_->Finish();
  EXPECT_THAT(end, HasGrpcCode(grpc::StatusCode::UNAVAILABLE));
  EXPECT_THAT(end.error_message(), HasSubstr("comes too slowly: less than"));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(60));
  grpc::ClientContext context;
  v1::ListRunsResponse runs;
  EXPECT_THAT(v1::Administration::NewStub(Connect(Role::kAdministrator, "grace"))
                  ->ListRuns(&context, {}, &runs),
              IsGrpcOk());
  EXPECT_EQ(runs.runs(0).state(), v1::RunStatus::STATE_RUNNING);
}

TEST_F(DrainTest, ASecondSignalEndsItAtOnce) {
  coordinator_->Signal(SIGTERM);
  ExpectTold();
  coordinator_->Signal(SIGTERM);
  EXPECT_EQ(coordinator_->Wait(absl::Seconds(5)), 1);
  EXPECT_THAT(coordinator_->Errors(), HasSubstr("ends at once"));
  Start();
}

}  // namespace
}  // namespace fedtune
