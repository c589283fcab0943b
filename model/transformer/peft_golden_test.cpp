// SPDX-License-Identifier: Apache-2.0

// Adapters that peft trained and saved, read by us: the logits are peft's.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gtest/gtest.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/transformer/load_model.h"
#include "model/transformer/sequence_logits.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::IsOk;

const std::filesystem::path kGolden = "tests/interop/golden";

class PeftGoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto stored = ReadPeftAdapter(kGolden / GetParam());
    ASSERT_THAT(stored, IsOk()) << stored.status();
    stored_ = *std::move(stored);
    auto model = LoadModel(kGolden / stored_.base_model, at::kCPU);
    ASSERT_THAT(model, IsOk()) << model.status();
    model_ = *std::move(model);
  }

  // The largest difference between peft's logits and ours with an adapter.
  double Difference(const PeftAdapter& stored) {
    const auto text = ReadFile(kGolden / GetParam() / "expected.json");
    EXPECT_THAT(text, IsOk());
    const nlohmann::json expected = *ParseJson(*text, "expected.json");
    auto adapter = Adapter::Create(stored.layout, model_.linear_layers, at::kCPU);
    EXPECT_THAT(adapter, IsOk()) << adapter.status();
    EXPECT_THAT(adapter->Load(stored.values), IsOk());
    const auto sequences = expected.at("token_ids").get<std::vector<std::vector<int32_t>>>();
    const auto logits = SequenceLogits(model_, *adapter, sequences);
    double largest = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      size_t next = 0;
      for (const auto& row : expected.at("logits")[i]) {
        for (const double value : row) {
          largest = std::max(largest, std::abs(value - logits[i][next++]));
        }
      }
      EXPECT_EQ(next, logits[i].size());
    }
    return largest;
  }

  PeftAdapter stored_;
  Model model_;
};

TEST_P(PeftGoldenTest, HasPeftsLogits) { EXPECT_LT(Difference(stored_), 1e-4); }

TEST_P(PeftGoldenTest, HasThemStillWhenWeWriteItAgain) {
  const testing::TemporaryDirectory folder;
  for (const PeftExperts experts : {PeftExperts::kSingle, PeftExperts::kFused}) {
    const auto path = folder.path() / (experts == PeftExperts::kSingle ? "single" : "fused");
    ASSERT_THAT(WritePeftAdapter(path, stored_.layout, stored_.values, "base",
                                 {.experts = experts, .rslora = true}),
                IsOk());
    const auto again = ReadPeftAdapter(path);
    ASSERT_THAT(again, IsOk()) << again.status();
    EXPECT_LT(Difference(*again), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Adapters, PeftGoldenTest,
                         ::testing::Values("peft_adapter", "peft_experts", "peft_rslora",
                                           "peft_moved"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fedtune
