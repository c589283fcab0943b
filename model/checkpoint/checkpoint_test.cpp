// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/checkpoint.h"

#include <array>
#include <filesystem>

#include "base/files.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr std::array<uint8_t, 4> kValues = {1, 2, 3, 4};

class CheckpointTest : public ::testing::Test {
 protected:
  void WriteShard(const std::string& file, const std::vector<std::string>& names) {
    std::vector<TensorView> tensors;
    tensors.reserve(names.size());
    for (const std::string& name : names) {
      tensors.push_back({name, TensorType::kU8, {4}, std::as_bytes(std::span(kValues))});
    }
    ASSERT_THAT(WriteSafetensors(folder_.path() / file, tensors, {}), IsOk());
  }

  void WriteIndex(std::string_view json) {
    ASSERT_THAT(WriteFileAtomically(folder_.path() / kWeightsIndexFile, json), IsOk());
  }

  std::string Error(absl::StatusCode code) {
    const auto checkpoint = Checkpoint::Open(folder_.path());
    EXPECT_THAT(checkpoint, HasCode(code));
    return checkpoint.ok() ? "" : std::string(checkpoint.status().message());
  }

  const testing::TemporaryDirectory folder_;
};

constexpr char kIndex[] = R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})";

TEST_F(CheckpointTest, ReadsASingleFile) {
  WriteShard("model.safetensors", {"a", "b"});
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_EQ(checkpoint->parameter_count(), 8);
  EXPECT_EQ(checkpoint->weight_bytes(), 8);
  EXPECT_EQ(checkpoint->shards().size(), 1U);
}

TEST_F(CheckpointTest, FindsTensorsInTheirShards) {
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {"b"});
  WriteIndex(kIndex);
  auto opened = Checkpoint::Open(folder_.path());
  ASSERT_THAT(opened, IsOk());
  const Checkpoint checkpoint = *std::move(opened);  // Views survive the move.
  ASSERT_NE(checkpoint.Find("b"), nullptr);
  EXPECT_EQ(checkpoint.Find("b")->bytes[3], std::byte{4});
  EXPECT_THAT(checkpoint.Get("c"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(CheckpointTest, NamesTheShardThatIsMissing) {
  WriteShard("1.safetensors", {"a"});
  WriteIndex(kIndex);
  EXPECT_THAT(Error(absl::StatusCode::kNotFound), HasSubstr("2.safetensors is missing"));
}

TEST_F(CheckpointTest, NamesTheShardInWhichTheIndexHasATensorThatIsMissing) {
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {});
  WriteIndex(kIndex);
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_THAT(checkpoint->Get("b"), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(checkpoint->Get("b").status().message()),
              HasSubstr("/2.safetensors: tensor b is missing"));
}

TEST_F(CheckpointTest, FindsTensorsThatTheIndexDoesNotListOrHasInAnotherShard) {
  WriteShard("1.safetensors", {"b", "c"});
  WriteShard("2.safetensors", {"a"});
  WriteIndex(kIndex);
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_THAT(checkpoint, IsOk());
  for (const char* name : {"a", "b", "c"}) EXPECT_NE(checkpoint->Find(name), nullptr);
}

TEST_F(CheckpointTest, KnowsTheTensorsOfAModelThatWasSavedWithoutItsHead) {
  WriteShard("1.safetensors", {"layers.0.mlp.up_proj.weight", "embed_tokens.weight"});
  WriteIndex(R"({"weight_map": {"layers.0.mlp.up_proj.weight": "1.safetensors",
    "embed_tokens.weight": "1.safetensors", "norm.weight": "1.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_THAT(checkpoint, IsOk());
  for (const char* name : {"layers.0.mlp.up_proj.weight", "embed_tokens.weight"}) {
    const TensorView* found = checkpoint->Find(std::string("model.") + name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->name, name);
    EXPECT_EQ(checkpoint->Find(name), found);
  }
  EXPECT_EQ(checkpoint->parameter_count(), 8);
  EXPECT_THAT(std::string(checkpoint->Get("model.norm.weight").status().message()),
              HasSubstr("/1.safetensors: tensor model.norm.weight is missing"));
}

TEST_F(CheckpointTest, RefusesATensorUnderTwoNames) {
  WriteShard("model.safetensors", {"norm.weight", "model.norm.weight"});
  EXPECT_THAT(
      Error(absl::StatusCode::kInvalidArgument),
      HasSubstr("holds tensor model.norm.weight, and so does model.safetensors norm.weight;"));
}

TEST_F(CheckpointTest, RefusesATensorThatIsInTwoShards) {
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {"b", "a"});
  WriteIndex(kIndex);
  EXPECT_THAT(Error(absl::StatusCode::kInvalidArgument),
              HasSubstr("2.safetensors: holds tensor a, and so does 1.safetensors"));
}

TEST_F(CheckpointTest, TakesAnIndexOfTheSingleFile) {
  WriteShard("model.safetensors", {"a"});
  WriteIndex(R"({"weight_map": {"a": "model.safetensors"}})");
  EXPECT_THAT(Checkpoint::Open(folder_.path()), IsOk());
}

TEST_F(CheckpointTest, RefusesASingleFileBesideAnIndexOfOthers) {
  WriteShard("model.safetensors", {"a"});
  WriteShard("1.safetensors", {"a"});
  WriteShard("2.safetensors", {"b"});
  WriteIndex(kIndex);
  EXPECT_THAT(Error(absl::StatusCode::kInvalidArgument),
              HasSubstr("there are weights in model.safetensors, and "
                        "model.safetensors.index.json lists others"));
}

TEST_F(CheckpointTest, RefusesAnIndexThatLeavesTheFolder) {
  for (const char* name : {"../x", "/etc/passwd", "..", ""}) {
    WriteIndex(fmt::format(R"({{"weight_map": {{"a": "{}"}}}})", name));
    EXPECT_THAT(Error(absl::StatusCode::kInvalidArgument), HasSubstr("not assigned"));
  }
}

TEST_F(CheckpointTest, RefusesAnIndexWithoutTensors) {
  for (const char* text : {"[]", "{}", R"({"weight_map": {}})", R"({"weight_map": 1})"}) {
    WriteIndex(text);
    EXPECT_THAT(Error(absl::StatusCode::kInvalidArgument), HasSubstr("no weight_map"));
  }
}

TEST_F(CheckpointTest, SaysThatAFolderHoldsNoWeights) {
  EXPECT_THAT(Error(absl::StatusCode::kNotFound), HasSubstr("holds no weights"));
}

TEST_F(CheckpointTest, SaysThatTheIndexOfItsPartsIsMissing) {
  WriteShard("model-00001-of-00002.safetensors", {"a"});
  EXPECT_THAT(Error(absl::StatusCode::kNotFound),
              HasSubstr("model.safetensors.index.json is missing, which lists the parts of the "
                        "model, such as model-00001-of-00002.safetensors"));
}

TEST_F(CheckpointTest, SaysThatThereIsNoSuchFolder) {
  EXPECT_THAT(Checkpoint::Open("/nowhere"), HasCode(absl::StatusCode::kNotFound));
}

TEST(CheckpointOfATrainedModelTest, OpensIt) {
  const std::filesystem::path directory = "../shared/data/models/stories260k-deepseekmoe";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << directory << " is not there";
  const auto checkpoint = Checkpoint::Open(directory);
  ASSERT_THAT(checkpoint, IsOk());
  const auto embedding = checkpoint->Get("model.embed_tokens.weight");
  ASSERT_THAT(embedding, IsOk());
  EXPECT_EQ(ShapeToString(embedding->shape), "[512, 64]");
}

}  // namespace
}  // namespace fedtune
