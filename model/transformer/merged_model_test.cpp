// SPDX-License-Identifier: Apache-2.0

// A model with an adapter merged into it computes what it does with the adapter.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/merge.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/transformer/load_model.h"
#include "model/transformer/sequence_logits.h"
#include "tests/support/model_reference.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::ReadModelReference;

const std::filesystem::path kGolden = "tests/interop/golden";

// Root mean square over all logits.
double Deviation(const std::vector<std::vector<float>>& one,
                 const std::vector<std::vector<float>>& other) {
  double squares = 0, count = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    for (size_t j = 0; j < one[i].size(); ++j) {
      squares += std::pow(static_cast<double>(one[i][j]) - other[i][j], 2);
      ++count;
    }
  }
  return std::sqrt(squares / count);
}

class MergedModelTest : public ::testing::TestWithParam<const char*> {};

TEST_P(MergedModelTest, HasTheLogitsOfBaseAndAdapter) {
  const testing::TemporaryDirectory folder;
  const auto reference = ReadModelReference(kGolden / GetParam());
  ASSERT_THAT(reference, IsOk());
  ASSERT_THAT(MergeAdapter(kGolden / GetParam(), reference->layout, reference->adapter,
                           folder.path() / "merged", [](double) {}),
              IsOk());
  const auto model = LoadModel(folder.path() / "merged", at::kCPU);
  ASSERT_THAT(model, IsOk()) << model.status();
  std::vector<std::vector<int32_t>> sequences;
  for (const TokenizedRecord& record : reference->records) sequences.push_back(record.tokens);
  const auto merged = SequenceLogits(*model, Adapter(), sequences);
  const double effect = Deviation(reference->base_logits, reference->adapted_logits);
  EXPECT_GT(effect, 0.1);
  const double cost = Deviation(merged, reference->adapted_logits);
  RecordProperty("share_of_effect", std::to_string(cost / effect));
  EXPECT_LT(cost, GetParam() == std::string("v3_fp8") ? 0.02 * effect : 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, MergedModelTest,
                         ::testing::Values("model_b", "v3_b", "llama_gqa", "v2_bias", "v3_fp8"),
                         [](const auto& info) { return info.param; });

// A copy of a golden checkpoint as AutoModel saves it.
void CopyWithoutHead(const std::filesystem::path& golden, const std::filesystem::path& target) {
  ASSERT_TRUE(std::filesystem::create_directory(target));
  std::filesystem::copy_file(golden / "config.json", target / "config.json");
  const auto file = *SafetensorsFile::Open(golden / "model.safetensors");
  std::vector<TensorView> tensors = file.tensors();
  for (TensorView& tensor : tensors) tensor.name.erase(0, std::string("model.").size());
  ASSERT_THAT(WriteSafetensors(target / "model.safetensors", tensors, {}), IsOk());
}

TEST(MergedModelWithoutHeadTest, KeepsTheNamesOfItsTensors) {
  const testing::TemporaryDirectory folder;
  const std::filesystem::path base = folder.path() / "base", merged = folder.path() / "merged";
  CopyWithoutHead(kGolden / "llama_gqa", base);
  const auto reference = ReadModelReference(kGolden / "llama_gqa");
  ASSERT_THAT(reference, IsOk());
  for (const auto& [from, to] :
       {std::pair(base, merged), std::pair(kGolden / "llama_gqa", folder.path() / "usual")}) {
    ASSERT_THAT(MergeAdapter(from, reference->layout, reference->adapter, to, [](double) {}),
                IsOk());
  }
  const auto file = SafetensorsFile::Open(merged / "model.safetensors");
  const auto usual = Checkpoint::Open(folder.path() / "usual");
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(usual, IsOk());
  for (const TensorView& tensor : file->tensors()) {
    EXPECT_FALSE(tensor.name.starts_with("model."));
    const TensorView* same = usual->Find("model." + tensor.name);
    ASSERT_NE(same, nullptr);
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, same->bytes)) << tensor.name;
  }
}

}  // namespace
}  // namespace fedtune
