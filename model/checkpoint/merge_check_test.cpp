// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/merge_check.h"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "gmock/gmock.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/merge.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// A base with q [2, 3] and a norm in bf16, an adapter of q, and what they come to.
class CheckMergedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(MakeDirectories(base_ / "additional_chat_templates"), IsOk());
    WriteWeights(base_, {1, 2, 3, 4, 5, 6});
    Put(base_ / "config.json", "{}");
    Put(base_ / "additional_chat_templates" / "rag.jinja", "template");
    Put(base_ / "pytorch_model.bin", "the same in another format");
    ASSERT_THAT(MergeAdapter(base_, layout_, values_, merged_, [](double) {}), IsOk());
  }

  static void WriteWeights(const std::filesystem::path& folder, const std::vector<float>& values,
                           const std::map<std::string, std::string>& metadata = {}) {
    std::vector<std::byte> q(12);
    std::vector<std::byte> norm(4);
    EncodeFloats(TensorType::kBF16, values, q);
    EncodeFloats(TensorType::kBF16, std::vector<float>{0.5F, 0.25F}, norm);
    const std::vector<TensorView> tensors = {{"q.weight", TensorType::kBF16, {2, 3}, q},
                                             {"norm.weight", TensorType::kBF16, {2}, norm}};
    ASSERT_THAT(WriteSafetensors(folder / kSingleWeightsFile, tensors, metadata), IsOk());
  }

  static void Put(const std::filesystem::path& file, std::string_view content) {
    ASSERT_THAT(WriteFileAtomically(file, content), IsOk());
  }

  absl::Status Check() {
    return CheckMerged(base_, layout_, values_, merged_, [this](double share) { share_ = share; });
  }

  void ExpectDifference(std::string_view what) {
    const absl::Status status = Check();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kAborted));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path base_ = folder_.path() / "base";
  const std::filesystem::path merged_ = folder_.path() / "merged";
  const AdapterLayout layout_ = *AdapterLayout::Create({{"q", 3, 2, 1, 2}});
  std::vector<float> values_ = {1, 0, 2, 10, 20};
  double share_ = 0;
};

TEST_F(CheckMergedTest, KnowsWhatMergingMakes) {
  EXPECT_THAT(Check(), IsOk());
  EXPECT_EQ(share_, 1);
}

TEST_F(CheckMergedTest, NamesTheFirstValueThatDiffers) {
  WriteWeights(merged_, {21, 2, 43, 44, 5, 86.5F});
  ExpectDifference("tensor q.weight from value 5 on");
}

TEST_F(CheckMergedTest, SeesAnotherAdapter) {
  values_[4] = 21;
  ExpectDifference("tensor q.weight from value 3 on");
}

TEST_F(CheckMergedTest, SeesAnotherTypeAndTensorsThatAreMissingOrNew) {
  const std::vector<std::byte> q(24);
  const std::vector<std::byte> norm(4);
  std::vector<TensorView> tensors = {{"q.weight", TensorType::kF32, {2, 3}, q},
                                     {"norm.weight", TensorType::kBF16, {2}, norm}};
  ASSERT_THAT(WriteSafetensors(merged_ / kSingleWeightsFile, tensors, {}), IsOk());
  ExpectDifference("type or shape of tensor q.weight");
  tensors[0].name = "k.weight";
  ASSERT_THAT(WriteSafetensors(merged_ / kSingleWeightsFile, tensors, {}), IsOk());
  ExpectDifference("tensor k.weight, which is one more");
  tensors.erase(tensors.begin());
  ASSERT_THAT(WriteSafetensors(merged_ / kSingleWeightsFile, tensors, {}), IsOk());
  ExpectDifference("tensor q.weight, which is missing");
}

TEST_F(CheckMergedTest, SeesFilesThatAreOtherMissingOrNew) {
  Put(merged_ / "additional_chat_templates" / "rag.jinja", "another template");
  ExpectDifference("file additional_chat_templates/rag.jinja: ");
  Put(merged_ / "modeling_extra.py", "print('hello')");
  ExpectDifference("file modeling_extra.py, which is one more");
  std::filesystem::remove(merged_ / "modeling_extra.py");
  std::filesystem::remove(merged_ / "config.json");
  Put(merged_ / "additional_chat_templates" / "rag.jinja", "template");
  ExpectDifference("file config.json, which is missing");
}

// Programs look into folders by their names, wherever they are.
TEST_F(CheckMergedTest, SeesAFolderThatIsALink) {
  std::filesystem::create_directory_symlink(base_ / "additional_chat_templates",
                                            merged_ / "templates");
  ExpectDifference("folder templates, which is a link");
}

TEST_F(CheckMergedTest, SeesOtherMetadata) {
  WriteWeights(merged_, {21, 2, 43, 44, 5, 86}, {{"format", "tf"}});
  ExpectDifference("metadata of model.safetensors");
}

}  // namespace
}  // namespace fedtune
