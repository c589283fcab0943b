// SPDX-License-Identifier: Apache-2.0

// A model with an adapter merged into it computes what it does with the adapter.

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/checkpoint/merge.h"
#include "model/transformer/load_model.h"
#include "model/transformer/logits.h"
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

}  // namespace
}  // namespace fedtune
