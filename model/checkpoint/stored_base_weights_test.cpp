// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/stored_base_weights.h"

#include <vector>

#include "base/files.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr int64_t kRows = 300, kColumns = 400;  // More values than are compared at once.

class StoredBaseWeightTest : public ::testing::Test {
 protected:
  StoredBaseWeightTest() : values_(kRows * kColumns, 0.1F) {
    Write({Head("lm_head.weight", {kRows, kColumns})});
  }

  void Write(const std::vector<TensorView>& tensors) const {
    EXPECT_THAT(WriteSafetensors(folder_.path() / kSingleWeightsFile, tensors, {}), IsOk());
  }

  // Of a model with this field.
  void WriteConfig(std::string_view field) const {
    constexpr char kSizes[] = R"("model_type": "llama", "hidden_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "vocab_size": 4, "intermediate_size": 4)";
    EXPECT_THAT(WriteFileAtomically(folder_.path() / "config.json",
                                    fmt::format("{{{}, {}}}", kSizes, field)),
                IsOk());
  }

  TensorView Head(std::string name, std::vector<int64_t> shape) const {
    return {std::move(name), TensorType::kF32, std::move(shape), std::as_bytes(std::span(values_))};
  }

  static absl::Status Check(const TensorView& stored, const Checkpoint& base) {
    return CheckStoredBaseWeight(stored, stored.name, base);
  }

  Checkpoint Base() const { return *Checkpoint::Open(folder_.path()); }

  const testing::TemporaryDirectory folder_;
  std::vector<float> values_;
};

TEST_F(StoredBaseWeightTest, TakesTheBaseModelsOwnUnderEitherName) {
  const Checkpoint base = Base();
  EXPECT_THAT(Check(Head("lm_head.weight", {kRows, kColumns}), base), IsOk());
  EXPECT_THAT(Check(Head("lm_head.base_layer.weight", {kRows, kColumns}), base), IsOk());
}

TEST_F(StoredBaseWeightTest, TakesOneThatWasRoundedToTheTypeItIsStoredIn) {
  std::vector<std::byte> rounded(2 * values_.size());
  EncodeFloats(TensorType::kBF16, values_, rounded);
  const TensorView stored{"lm_head.weight", TensorType::kBF16, {kRows, kColumns}, rounded};
  EXPECT_THAT(Check(stored, Base()), IsOk());
}

TEST_F(StoredBaseWeightTest, RefusesOneOfWhichTheLastValueDiffers) {
  values_.back() = 0.2F;
  const absl::Status status = Check(Head("lm_head.weight", {kRows, kColumns}), Base());
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("tensor lm_head.weight is a weight of the base model, but differs from"));
}

TEST_F(StoredBaseWeightTest, TakesTheHeadForATiedEmbeddingAndTheReverse) {
  EXPECT_THAT(Check(Head("model.embed_tokens.weight", {kRows, kColumns}), Base()), IsOk());
  Write({Head("model.embed_tokens.weight", {kRows, kColumns})});
  EXPECT_THAT(Check(Head("lm_head.base_layer.weight", {kRows, kColumns}), Base()), IsOk());
}

TEST_F(StoredBaseWeightTest, RefusesAnAdapterOfATiedHead) {
  const TensorView embedding = Head("model.embed_tokens.weight", {kRows, kColumns});
  Write({embedding});
  const absl::Status status = CheckHeadIsItsOwn(Base());
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("it is tied to the embedding, which merging would change as well"));
  Write({embedding, Head("lm_head.weight", {kRows, kColumns})});
  EXPECT_THAT(CheckHeadIsItsOwn(Base()), IsOk());
  WriteConfig(R"("tie_word_embeddings": true)");
  EXPECT_THAT(CheckHeadIsItsOwn(Base()), HasCode(absl::StatusCode::kInvalidArgument));
  WriteConfig(R"("tie_word_embeddings": false)");
  EXPECT_THAT(CheckHeadIsItsOwn(Base()), IsOk());
}

TEST_F(StoredBaseWeightTest, RefusesOneOfAnotherShape) {
  EXPECT_THAT(Check(Head("lm_head.weight", {kColumns, kRows}), Base()),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(StoredBaseWeightTest, RefusesOneThatTheBaseModelDoesNotHave) {
  const absl::Status status = Check(Head("score.weight", {kRows, kColumns}), Base());
  ASSERT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("tensor score.weight is neither a LoRA factor nor a weight of the base"));
}

}  // namespace
}  // namespace fedtune
