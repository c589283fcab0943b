// SPDX-License-Identifier: Apache-2.0

// Contributions that are too large for memory, over real TLS: a bad one leaves
// no trace in what the others make.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "coordinator/storage/backup.h"
#include "coordinator/storage/state_database.h"
#include "tests/support/server_fixture.h"

namespace fedtune::testing {
namespace {

using enum grpc::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Ada and Bea have got the work of a round whose adapter has 6 MB.
class LargeContributionTest : public ServerTest {
 protected:
  static constexpr int64_t kIn = 700'001;
  static constexpr int64_t kOut = 800'000;

  LargeContributionTest() {
    ada_ = ConnectClient("ada");
    bea_ = ConnectClient("bea");
    coy_ = ConnectClient("coy");
    dan_ = ConnectClient("dan");
    v1::StartRunRequest request = StartRequest(2, 2);
    BaseModelDescription model = *BaseModelDescriptionFromJson(TinyModelJson());
    model.linear_layers[0].in_features = kIn;
    model.linear_layers[0].out_features = kOut;
    request.set_base_model_json(ToJson(model));
    EXPECT_THAT(TryStart(request), IsGrpcOk());
    ada_->Join(10);
    bea_->Join(30);
    coy_->Join(20);
    dan_->Join(20);
    work_ = ada_->Receive().round_assignment();
    bea_->Receive();
  }

  static std::vector<float> Values(float value) { return std::vector<float>(kIn + kOut, value); }

  grpc::Status Submit(FakeClient& client, const std::vector<float>& values) const {
    const std::string bytes(ValueBytes(values));
    return client.Submit(client.HeaderFor(work_, bytes), bytes);
  }

  // Sends the head and the first megabytes, then hangs up.
  void BreakOff(FakeClient& client, const std::vector<float>& values) const {
    const std::string bytes(ValueBytes(values));
    grpc::ClientContext context;
    v1::SubmitContributionResponse response;
    const auto writer = client.stub().SubmitContribution(&context, &response);
    v1::SubmitContributionRequest part;
    *part.mutable_header() = client.HeaderFor(work_, bytes);
    writer->Write(part);
    for (size_t offset = 0; offset < size_t{3} << 20; offset += size_t{1} << 20) {
      part.mutable_chunk()->set_offset(offset);
      part.mutable_chunk()->set_data(bytes.substr(offset, size_t{1} << 20));
      writer->Write(part);
    }
    context.TryCancel();
    EXPECT_THAT(writer->Finish(), HasGrpcCode(CANCELLED));
  }

  // Sends the head and what is missing up to `end`, and ends the call in good order.
  // Returns from where on it was missing.
  uint64_t SendPart(FakeClient& client, const std::string& bytes, size_t end) const {
    uint64_t begin = 0;
    EXPECT_EQ(GoOn(client, bytes, end, begin).ok(), end == bytes.size());
    return begin;
  }

  // The same: how the call ended.
  grpc::Status GoOn(FakeClient& client, const std::string& bytes, size_t end,
                    uint64_t& begin) const {
    grpc::ClientContext context;
    v1::SubmitContributionResponse response;
    const auto writer = client.stub().SubmitContribution(&context, &response);
    v1::SubmitContributionRequest part;
    *part.mutable_header() = client.HeaderFor(work_, bytes);
    writer->Write(part);
    writer->WaitForInitialMetadata();
    const auto& metadata = context.GetServerInitialMetadata();
    const auto told = metadata.find("fedtune-received-bytes");
    EXPECT_NE(told, metadata.end());
    begin = std::stoull(std::string(told->second.data(), told->second.size()));
    for (size_t offset = begin; offset < end; offset += size_t{1} << 20) {
      part.mutable_chunk()->set_offset(offset);
      part.mutable_chunk()->set_data(bytes.substr(offset, std::min(size_t{1} << 20, end - offset)));
      writer->Write(part);
    }
    writer->WritesDone();
    return writer->Finish();
  }

  // A client may know the end of its call before the coordinator has let go of the file.
  static void AwaitItsCallsEnd(const std::filesystem::path& spooled) {
    const int fd = ::open(spooled.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(::flock(fd, LOCK_EX), 0);
    ::close(fd);
  }

  // What they send is not finite.
  void CoyAndDanFailTheRound() {
    const std::vector<float> not_finite = Values(std::numeric_limits<float>::infinity());
    EXPECT_THAT(Submit(*coy_, not_finite), HasGrpcCode(INVALID_ARGUMENT));
    EXPECT_THAT(Submit(*dan_, not_finite), HasGrpcCode(INVALID_ARGUMENT));
  }

  void StartAgainWithAdaAndBea() {
    StartServer();
    ada_ = ConnectClient("ada");
    bea_ = ConnectClient("bea");
    ada_->Join(10);
    bea_->Join(30);
  }

  // What a backup does not have is lost.
  void BackUpAndRestore() {
    const auto backup = BackUp(State(""), directory_.path() / "backups", absl::Now());
    ASSERT_THAT(backup, IsOk());
    server_.reset();
    std::filesystem::rename(State(""), directory_.path() / "lost");
    ASSERT_THAT(Restore(*backup, State("")), IsOk());
  }

  void LoseTheDatabase() {
    server_.reset();
    for (const char* name : {"fedtune.sqlite", "fedtune.sqlite-wal", "fedtune.sqlite-shm"}) {
      std::filesystem::remove(State(name));
    }
  }

  // What a coordinator says that must not start because data is lost.
  std::string RefusalToStart() {
    const auto started = Server::Start(
        {.listen = "127.0.0.1:0", .credentials = credentials_, .state_directory = State("")},
        clock_, log_);
    EXPECT_THAT(started, HasCode(absl::StatusCode::kDataLoss));
    return std::string(Message(started.status()));
  }

  std::filesystem::path State(std::string_view folder) const {
    return directory_.path() / "state" / folder;
  }

  int64_t FilesIn(std::string_view folder) const {
    const std::filesystem::directory_iterator files(State(folder));
    return std::distance(begin(files), end(files));
  }

  std::vector<float> Adapter(const std::string& sha256) const {
    return *ValuesFromBytes(ada_->Fetch(sha256), kIn + kOut, "adapter");
  }

  std::unique_ptr<FakeClient> ada_;
  std::unique_ptr<FakeClient> bea_;
  std::unique_ptr<FakeClient> coy_;
  std::unique_ptr<FakeClient> dan_;
  v1::RoundAssignment work_;
};

TEST_F(LargeContributionTest, WhatIsBadLeavesNoTraceInTheSum) {
  std::vector<float> not_finite = Values(1);
  not_finite[kIn + 7] = std::numeric_limits<float>::quiet_NaN();
  const grpc::Status status = Submit(*coy_, not_finite);
  EXPECT_THAT(status, HasGrpcCode(INVALID_ARGUMENT));
  EXPECT_THAT(status.error_message(), HasSubstr("q_proj.lora_B[7]"));

  const std::string other(ValueBytes(Values(5)));
  EXPECT_THAT(dan_->Submit(dan_->HeaderFor(work_, std::string(ValueBytes(Values(6)))), other),
              HasGrpcCode(INVALID_ARGUMENT));
  BreakOff(*ada_, Values(7));

  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  ASSERT_THAT(Submit(*bea_, Values(-1)), IsGrpcOk());
  const std::vector<float> before = Adapter(work_.adapter_sha256());
  const std::vector<float> after = Adapter(ada_->Receive().round_assignment().adapter_sha256());
  for (size_t i = 0; i < after.size(); ++i) {
    ASSERT_EQ(after[i], static_cast<float>(static_cast<double>(before[i]) - 0.5)) << i;
  }
}

TEST_F(LargeContributionTest, ComesAgainWhenTheDiskTakesItAgain) {
  const std::filesystem::path spool = directory_.path() / "state" / "spool";
  std::filesystem::rename(spool, directory_.path() / "away");
  const grpc::Status status = Submit(*ada_, Values(1));
  EXPECT_THAT(status, HasGrpcCode(UNAVAILABLE));
  EXPECT_THAT(status.error_message(), Not(HasSubstr(directory_.path().string())));
  std::filesystem::rename(directory_.path() / "away", spool);
  EXPECT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
}

// Whoever goes on with other bytes than those of his first call may do so again and again.
TEST_F(LargeContributionTest, BytesThatAreNotThoseOfItsHeaderHoldNoDeadlineUp) {
  const std::string bytes(ValueBytes(Values(1)));
  SendPart(*ada_, bytes, size_t{3} << 20);
  for (const auto& entry : std::filesystem::directory_iterator(State("spool"))) {
    AwaitItsCallsEnd(entry.path());
    std::fstream(entry.path()).put('x');
  }
  uint64_t begin = 0;
  EXPECT_THAT(GoOn(*ada_, bytes, bytes.size(), begin), HasGrpcCode(UNAVAILABLE));
  EXPECT_EQ(begin, size_t{3} << 20);
  EXPECT_EQ(GetRun(ada_->invitation().run_id()).run().reason(), "");
  EXPECT_THAT(ada_->Submit(ada_->HeaderFor(work_, bytes), bytes), IsGrpcOk());
}

TEST_F(LargeContributionTest, NothingOfItIsOnTheDiskAfterTheRun) {
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  SendPart(*bea_, std::string(ValueBytes(Values(1))), size_t{3} << 20);
  EXPECT_EQ(FilesIn("blobs"), 1);  // The initial adapter.
  EXPECT_EQ(FilesIn("spool"), 2);
  Stop(ada_->invitation().run_id());
  EXPECT_EQ(FilesIn("spool"), 0);
}

TEST_F(LargeContributionTest, WhatIsAcknowledgedIsInTheSumAfterARestart) {
  const std::vector<float> before = Adapter(work_.adapter_sha256());
  CoyAndDanFailTheRound();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  BreakOff(*bea_, Values(1));
  server_.reset();
  const absl::Time ended = absl::Now();
  StartAgainWithAdaAndBea();
  const v1::RoundAssignment again = bea_->Receive().round_assignment();
  EXPECT_EQ(again.attempt(), work_.attempt());
  ASSERT_THAT(Submit(*bea_, Values(-1)), IsGrpcOk());
  const v1::RoundAssignment next = ada_->Receive().round_assignment();
  EXPECT_EQ(next.round(), 1);
  const v1::GetRunResponse run = GetRun(ada_->invitation().run_id());
  EXPECT_GE(run.rounds(0).started_unix_ms(), run.run().started_unix_ms());
  EXPECT_LE(run.rounds(0).started_unix_ms(), absl::ToUnixMillis(ended));
  const std::vector<float> after = Adapter(next.adapter_sha256());
  for (size_t i = 0; i < after.size(); ++i) {
    ASSERT_EQ(after[i], static_cast<float>(static_cast<double>(before[i]) - 0.5)) << i;
  }
}

// As when somebody tidies up, or puts back no more than fedtune.sqlite.
TEST_F(LargeContributionTest, AStateWhoseDatabaseIsGoneIsNotBegunAnewInSilence) {
  CoyAndDanFailTheRound();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  LoseTheDatabase();
  const int contributions = FilesIn("spool");
  const int adapters = FilesIn("blobs");
  EXPECT_THAT(RefusalToStart(), HasSubstr("or restore a backup"));
  EXPECT_EQ(FilesIn("spool"), contributions);
  EXPECT_EQ(FilesIn("blobs"), adapters);
  EXPECT_FALSE(std::filesystem::exists(State("fedtune.sqlite")));
  std::filesystem::remove_all(State("spool"));
  std::filesystem::remove_all(State("blobs"));
  StartServer();
}

// As without its -wal, before it was written into the file.
TEST_F(LargeContributionTest, ADatabaseThatKnowsNothingOfTheContributionsIsRefused) {
  CoyAndDanFailTheRound();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  LoseTheDatabase();
  ASSERT_THAT(OpenStateDatabase(State("fedtune.sqlite")), IsOk());
  const int contributions = FilesIn("spool");
  EXPECT_THAT(RefusalToStart(), HasSubstr("knows of no run"));
  EXPECT_EQ(FilesIn("spool"), contributions);
}

TEST_F(LargeContributionTest, AStateWithoutItsFolderOfBlobsIsRefused) {
  server_.reset();
  std::filesystem::rename(State("blobs"), State("blobs-elsewhere"));
  for (int start = 0; start < 2; ++start) {
    EXPECT_THAT(RefusalToStart(), AllOf(HasSubstr("there is no folder " + State("blobs").string()),
                                        HasSubstr("restore a backup")));
  }
  std::filesystem::rename(State("blobs-elsewhere"), State("blobs"));
  StartServer();
  EXPECT_EQ(GetRun(ada_->invitation().run_id()).run().state(), v1::RunStatus::STATE_RUNNING);
}

TEST_F(LargeContributionTest, AStateWithoutAnAdapterThatARunGoesOnFromIsRefused) {
  server_.reset();
  ASSERT_EQ(FilesIn("blobs"), 1);
  const std::filesystem::path adapter = *std::filesystem::directory_iterator(State("blobs"));
  std::filesystem::rename(adapter, State("elsewhere"));
  const std::string run = ada_->invitation().run_id();
  EXPECT_THAT(RefusalToStart(),
              AllOf(HasSubstr(adapter.string() + " is missing, from which " + run),
                    HasSubstr("restore a backup")));
  std::filesystem::rename(State("elsewhere"), adapter);
  StartServer();
  EXPECT_EQ(GetRun(run).run().state(), v1::RunStatus::STATE_RUNNING);
}

// A backup has no spool: of what is acknowledged and in no release yet it knows only
// that it was there. Clients hand it in again, and it counts once.
TEST_F(LargeContributionTest, AfterARestoreClientsHandInAgainWhatTheBackupDoesNotHave) {
  const std::vector<float> before = Adapter(work_.adapter_sha256());
  CoyAndDanFailTheRound();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  BackUpAndRestore();
  StartAgainWithAdaAndBea();
  const v1::RoundAssignment again = ada_->Receive().round_assignment();
  EXPECT_EQ(again.round(), work_.round());
  EXPECT_EQ(again.attempt(), work_.attempt());
  const std::string bytes(ValueBytes(Values(1)));
  v1::SubmitContributionResponse response;
  ASSERT_THAT(ada_->Submit(ada_->HeaderFor(work_, bytes), bytes, &response), IsGrpcOk());
  EXPECT_FALSE(response.repeated());
  bea_->Receive();
  ASSERT_THAT(Submit(*bea_, Values(-1)), IsGrpcOk());
  const v1::RoundAssignment next = ada_->Receive().round_assignment();
  EXPECT_EQ(next.round(), 1);
  const std::vector<float> after = Adapter(next.adapter_sha256());
  for (size_t i = 0; i < after.size(); ++i) {
    ASSERT_EQ(after[i], static_cast<float>(static_cast<double>(before[i]) - 0.5)) << i;
  }
}

// It lies where the one lay that was lost.
TEST_F(LargeContributionTest, WhatIsHandedInAgainCountsOnceWhenTheNextProcessBringsItBack) {
  const std::vector<float> before = Adapter(work_.adapter_sha256());
  CoyAndDanFailTheRound();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  BackUpAndRestore();
  StartAgainWithAdaAndBea();
  ada_->Receive();
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  server_.reset();
  StartAgainWithAdaAndBea();
  bea_->Receive();
  ASSERT_THAT(Submit(*bea_, Values(-1)), IsGrpcOk());
  const v1::RoundAssignment next = ada_->Receive().round_assignment();
  ASSERT_EQ(next.round(), 1);
  const std::vector<float> after = Adapter(next.adapter_sha256());
  for (size_t i = 0; i < after.size(); ++i) {
    ASSERT_EQ(after[i], static_cast<float>(static_cast<double>(before[i]) - 0.5)) << i;
  }
}

TEST_F(LargeContributionTest, AnUploadThatIsCutOffGoesOnInTheNextProcess) {
  const std::string bytes(ValueBytes(Values(1)));
  EXPECT_EQ(SendPart(*ada_, bytes, size_t{3} << 20), 0u);
  server_.reset();
  StartServer();
  ada_ = ConnectClient("ada");
  ada_->Join(10);
  EXPECT_EQ(SendPart(*ada_, bytes, bytes.size()), size_t{3} << 20);
  // It has been taken: it is repeated.
  v1::SubmitContributionResponse again;
  EXPECT_THAT(ada_->Submit(ada_->HeaderFor(work_, bytes), bytes, &again), IsGrpcOk());
  EXPECT_TRUE(again.repeated());
}

TEST_F(LargeContributionTest, ShowsHowMuchOfAnUploadHasCome) {
  const std::string bytes(ValueBytes(Values(1)));
  SendPart(*ada_, bytes, size_t{3} << 20);
  const v1::RunClient shown = GetRun(work_.run_id()).run().clients(0);
  EXPECT_EQ(shown.institution(), "ada");
  EXPECT_EQ(shown.state(), "uploading");
  EXPECT_NEAR(shown.fraction(), 3.0 * (1 << 20) / static_cast<double>(bytes.size()), 1e-9);
  SendPart(*ada_, bytes, bytes.size());
  EXPECT_EQ(GetRun(work_.run_id()).run().clients(0).state(), "done");
}

// Each would take its space on the disk.
TEST_F(LargeContributionTest, AnUploadEndsTheOneBeforeItOfTheSameClient) {
  const std::string bytes(ValueBytes(Values(1)));
  v1::SubmitContributionRequest head;
  *head.mutable_header() = ada_->HeaderFor(work_, bytes);
  grpc::ClientContext contexts[3];
  v1::SubmitContributionResponse response;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::SubmitContributionRequest>>> uploads;
  for (grpc::ClientContext& context : contexts) {
    uploads.push_back(ada_->stub().SubmitContribution(&context, &response));
    uploads.back()->Write(head);
    uploads.back()->WaitForInitialMetadata();
  }
  for (int i = 0; i < 2; ++i) {
    const grpc::Status ended = uploads[i]->Finish();
    EXPECT_THAT(ended, HasGrpcCode(UNAVAILABLE));
    EXPECT_THAT(ended.error_message(), HasSubstr("another upload of this client"));
  }
  EXPECT_THAT(Submit(*bea_, Values(1)), IsGrpcOk()) << "each client has its own";
  contexts[2].TryCancel();
  EXPECT_THAT(uploads[2]->Finish(), HasGrpcCode(CANCELLED));
  EXPECT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
}

class LostInTheRoundTest : public LargeContributionTest {
 protected:
  // Those of coy and dan, who have failed, may still lie there.
  std::set<std::filesystem::path> Spooled() const {
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(State("spool"))) {
      files.insert(entry.path());
    }
    return files;
  }

  // Where ada's contribution lies.
  std::filesystem::path AdaHandsIn() {
    const std::set<std::filesystem::path> before = Spooled();
    EXPECT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
    for (const std::filesystem::path& file : Spooled()) {
      if (!before.contains(file)) return file;
    }
    return {};
  }

  // Bea's contribution completes the round, and ada's cannot be read.
  void ExpectAdaIsAskedAgain() {
    const std::vector<float> before = Adapter(work_.adapter_sha256());
    ASSERT_THAT(Submit(*bea_, Values(-1)), IsGrpcOk());
    const v1::RoundAssignment again = ada_->Receive().round_assignment();
    EXPECT_EQ(again.round(), 0);
    EXPECT_EQ(again.attempt(), work_.attempt());
    ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
    const v1::RoundAssignment next = ada_->Receive().round_assignment();
    ASSERT_EQ(next.round(), 1);
    const std::vector<float> after = Adapter(next.adapter_sha256());
    for (size_t i = 0; i < after.size(); ++i) {
      ASSERT_EQ(after[i], static_cast<float>(static_cast<double>(before[i]) - 0.5)) << i;
    }
  }
};

TEST_F(LostInTheRoundTest, AFlippedBitIsNoticedAndAskedForAgain) {
  CoyAndDanFailTheRound();
  std::fstream(AdaHandsIn()).seekp(4'000'003).put('\x7f');
  ExpectAdaIsAskedAgain();
}

TEST_F(LostInTheRoundTest, AFileThatIsCutShortIsAskedForAgain) {
  CoyAndDanFailTheRound();
  std::filesystem::resize_file(AdaHandsIn(), 1'000);
  ExpectAdaIsAskedAgain();
}

TEST_F(LargeContributionTest, WhatIsDamagedOnTheDiskIsAskedForAgain) {
  ASSERT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
  server_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(State("spool"))) {
    std::fstream file(entry.path());
    file.seekp(12'345).put('x');
  }
  StartServer();
  ada_ = ConnectClient("ada");
  ada_->Join(10);
  EXPECT_EQ(ada_->Receive().round_assignment().attempt(), work_.attempt());
  EXPECT_EQ(FilesIn("spool"), 0);
  EXPECT_THAT(Submit(*ada_, Values(1)), IsGrpcOk());
}

}  // namespace
}  // namespace fedtune::testing
