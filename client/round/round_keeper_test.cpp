// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_keeper.h"

#include <fstream>
#include <iterator>

#include "base/files.h"
#include "gmock/gmock.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

namespace fs = std::filesystem;
using ::fedtune::testing::IsOk;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

RoundInputs InputsOfRound(int64_t round, const std::string& run = "run-1cd1") {
  return {.run = run, .round = round, .adapter = Sha256Of("adapter"), .base_model = "sha256:77ab"};
}

class RoundKeeperTest : public ::testing::Test {
 protected:
  RoundKeeper Open(uint8_t key = 1) {
    return *RoundKeeper::Open({.directory = folder_.path() / "rounds",
                               .key = SecretBytes(std::vector<uint8_t>(32, key)),
                               .interval = absl::Minutes(1)},
                              clock_, log_);
  }

  RoundCheckpoint CheckpointOf(const RoundInputs& inputs) const {
    return {.inputs = inputs,
            .training = TrainingState{.step = 3,
                                      .adapter = {1, 2, 3},
                                      .first_moment = {1, 2, 3},
                                      .second_moment = {1, 2, 3},
                                      .answer_token_count = 3}};
  }
  RoundResult ResultOf(const RoundInputs& inputs) const {
    return {.inputs = inputs, .delta = {1, 2, 3}, .metrics = {.training_loss = 0.5}};
  }

  bool HasResult(RoundKeeper keeper, const RoundInputs& inputs) {
    return keeper.FindResult(inputs, layout_).has_value();
  }
  bool HasCheckpoint(RoundKeeper keeper, const RoundInputs& inputs) {
    return keeper.FindCheckpoint(inputs, shape_).has_value();
  }

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_.path() / "rounds")) {
      files.push_back(entry.path());
    }
    return files;
  }

  const testing::TemporaryDirectory folder_;
  testing::FakeClock clock_;
  Log log_;
  // Two values of A and one of B.
  const AdapterLayout layout_ = *AdapterLayout::Create(
      {{.name = "q_proj", .in_features = 2, .out_features = 1, .lora_rank = 1, .alpha = 1}});
  const TrainingShape shape_ = {.layout = layout_, .steps = 8};
};

TEST_F(RoundKeeperTest, KeepsAResultForTheNextProcess) {
  Open().Keep(ResultOf(InputsOfRound(0)));
  const auto found = Open().FindResult(InputsOfRound(0), layout_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, ResultOf(InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, KeepsACheckpointForTheNextProcess) {
  Open().Keep(CheckpointOf(InputsOfRound(0)));
  const auto found = Open().FindCheckpoint(InputsOfRound(0), shape_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, CheckpointOf(InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, FindsNothingWhereNothingIs) {
  EXPECT_FALSE(HasResult(Open(), InputsOfRound(0)));
  EXPECT_FALSE(HasCheckpoint(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, WritesFilesThatOnlyTheirOwnerCanOpenAndNobodyCanRead) {
  RoundInputs inputs = InputsOfRound(0);
  inputs.base_model = "a canary that nobody may read in a file";
  Open().Keep(ResultOf(inputs));
  ASSERT_EQ(Files().size(), 1);
  EXPECT_EQ(fs::status(Files()[0]).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THAT(*ReadFile(Files()[0]), Not(HasSubstr("canary")));
}

TEST_F(RoundKeeperTest, CountsHowOftenTheDeviceWasLostInAnAttempt) {
  const AttemptId id{.run = "run-1cd1", .round = 3, .attempt = 2};
  EXPECT_EQ(Open().CountLosses(id), 0);
  Open().KeepLoss(id);
  Open().KeepLoss(id);
  EXPECT_EQ(Open().CountLosses(id), 2);
  EXPECT_EQ(Open().CountLosses({.run = "run-1cd1", .round = 3, .attempt = 3}), 0);
  EXPECT_EQ(Open().CountLosses({.run = "run-1cd1", .round = 4, .attempt = 2}), 0);
  EXPECT_EQ(Open().CountLosses({.run = "run-2", .round = 3, .attempt = 2}), 0);
  Open().Discard("run-1cd1");
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RoundKeeperTest, KnowsOfNoLossFromADamagedFile) {
  const AttemptId id{.run = "run-1cd1", .round = 3, .attempt = 2};
  Open().KeepLoss(id);
  std::ofstream(Files().at(0), std::ios::app) << "x";
  EXPECT_EQ(Open().CountLosses(id), 0);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RoundKeeperTest, AResultTakesThePlaceOfItsCheckpoint) {
  RoundKeeper keeper = Open();
  keeper.Keep(CheckpointOf(InputsOfRound(0)));
  keeper.Keep(ResultOf(InputsOfRound(0)));
  EXPECT_FALSE(HasCheckpoint(Open(), InputsOfRound(0)));
  EXPECT_TRUE(HasResult(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, RemovesWhatIsOfAnotherRoundOfTheRun) {
  RoundKeeper keeper = Open();
  keeper.Keep(ResultOf(InputsOfRound(0)));
  keeper.Keep(CheckpointOf(InputsOfRound(1)));
  EXPECT_FALSE(HasResult(Open(), InputsOfRound(1)));
  EXPECT_FALSE(HasCheckpoint(Open(), InputsOfRound(2)));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RoundKeeperTest, HasNoUseForOtherInputsOfTheSameRound) {
  const std::vector<std::function<void(RoundInputs&)>> changes = {
      [](RoundInputs& inputs) { inputs.adapter.bytes[0] ^= 1; },
      [](RoundInputs& inputs) { inputs.factors = FactorSet::kA; },
      [](RoundInputs& inputs) { inputs.plan.bytes[0] ^= 1; },
      [](RoundInputs& inputs) { inputs.base_model = "sha256:77ac"; },
      [](RoundInputs& inputs) { inputs.layout.bytes[0] ^= 1; },
      [](RoundInputs& inputs) { inputs.records.bytes[0] ^= 1; }};
  for (const auto& change : changes) {
    RoundInputs wanted = InputsOfRound(0);
    change(wanted);
    Open().Keep(ResultOf(InputsOfRound(0)));
    EXPECT_FALSE(HasResult(Open(), wanted));
    Open().Keep(CheckpointOf(InputsOfRound(0)));
    EXPECT_FALSE(HasCheckpoint(Open(), wanted));
    EXPECT_THAT(Files(), IsEmpty()) << "it is refused once, and gone";
  }
}

TEST_F(RoundKeeperTest, HasNoUseForAnotherKey) {
  Open(1).Keep(ResultOf(InputsOfRound(0)));
  EXPECT_FALSE(HasResult(Open(2), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, HasNoUseForAFileThatIsDamaged) {
  Open().Keep(CheckpointOf(InputsOfRound(0)));
  std::string content = *ReadFile(Files()[0]);
  content[content.size() / 2] ^= 1;
  ASSERT_THAT(WriteFileAtomically(Files()[0], content), IsOk());
  EXPECT_FALSE(HasCheckpoint(Open(), InputsOfRound(0)));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RoundKeeperTest, HasNoUseForAStateOfAnotherTraining) {
  RoundCheckpoint checkpoint = CheckpointOf(InputsOfRound(0));
  checkpoint.training->step = 9;
  Open().Keep(checkpoint);
  EXPECT_FALSE(HasCheckpoint(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, HasNoUseForADeltaOfAnotherLayout) {
  RoundResult result = ResultOf(InputsOfRound(0));
  result.delta.push_back(4);
  Open().Keep(result);
  EXPECT_FALSE(HasResult(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, HasNoUseForTheFileOfAnotherRun) {
  Open().Keep(ResultOf(InputsOfRound(0, "run-0072")));
  const fs::path theirs = Files()[0];
  Open().Keep(ResultOf(InputsOfRound(0)));
  for (const fs::path& file : Files()) {
    if (file != theirs) fs::copy_file(theirs, file, fs::copy_options::overwrite_existing);
  }
  EXPECT_FALSE(HasResult(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, GoesOnWithoutTheDisk) {
  RoundKeeper keeper = Open();
  keeper.Keep(CheckpointOf(InputsOfRound(0)));
  fs::remove_all(folder_.path() / "rounds");
  ::testing::internal::CaptureStderr();
  keeper.Keep(CheckpointOf(InputsOfRound(0)));
  keeper.Keep(ResultOf(InputsOfRound(0)));
  const std::string log = ::testing::internal::GetCapturedStderr();
  const size_t told = log.find("cannot be stored");
  EXPECT_NE(told, std::string::npos) << log;
  EXPECT_EQ(log.find("cannot be stored", told + 1), std::string::npos) << "once";
  fs::create_directory(folder_.path() / "rounds");
  keeper.Keep(ResultOf(InputsOfRound(0)));
  EXPECT_TRUE(HasResult(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, AResultThatCannotBeStoredLeavesTheCheckpoint) {
  RoundKeeper keeper = Open();
  keeper.Keep(CheckpointOf(InputsOfRound(0)));
  fs::path in_the_way = Files()[0];
  in_the_way.replace_extension("result");
  fs::create_directories(in_the_way / "full");
  keeper.Keep(ResultOf(InputsOfRound(0)));
  EXPECT_TRUE(HasCheckpoint(Open(), InputsOfRound(0)));
}

TEST_F(RoundKeeperTest, DiscardsARun) {
  RoundKeeper keeper = Open();
  keeper.Keep(ResultOf(InputsOfRound(0)));
  keeper.Keep(CheckpointOf(InputsOfRound(1)));
  keeper.Keep(ResultOf(InputsOfRound(0, "run-0072")));
  keeper.Discard("run-1cd1");
  EXPECT_EQ(Files().size(), 1);
  EXPECT_TRUE(HasResult(Open(), InputsOfRound(0, "run-0072")));
}

TEST_F(RoundKeeperTest, KeepsOnlyOpenRuns) {
  RoundKeeper keeper = Open();
  for (const std::string run : {"run-1", "run-2", "run-3"}) {
    keeper.Keep(ResultOf(InputsOfRound(0, run)));
    keeper.Keep(CheckpointOf(InputsOfRound(1, run)));
  }
  ::testing::internal::CaptureStderr();
  keeper.KeepOnly({"run-2", "run-9"});
  EXPECT_EQ(Files().size(), 2);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("have ended"), HasSubstr("files=4")));
  EXPECT_TRUE(HasResult(Open(), InputsOfRound(0, "run-2")));
}

TEST_F(RoundKeeperTest, RemovesWhatAKilledProcessLeftHalfWritten) {
  Open().Keep(ResultOf(InputsOfRound(0)));
  std::ofstream(folder_.path() / "rounds" / "x.checkpoint.4711.partial") << "half";
  Open();
  EXPECT_EQ(Files().size(), 1);
}

TEST_F(RoundKeeperTest, NeedsAFolder) {
  std::ofstream(folder_.path() / "file") << "in the way";
  EXPECT_FALSE(RoundKeeper::Open({.directory = folder_.path() / "file" / "rounds",
                                  .key = SecretBytes(std::vector<uint8_t>(32)),
                                  .interval = absl::Minutes(1)},
                                 clock_, log_)
                   .ok());
}

}  // namespace
}  // namespace fedtune
