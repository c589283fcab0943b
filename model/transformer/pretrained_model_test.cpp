// SPDX-License-Identifier: Apache-2.0

// A model that was trained, with the text that others had from it.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gtest/gtest.h"
#include "model/transformer/load_model.h"
#include "model/transformer/sequence_logits.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

const std::filesystem::path kStories = "../shared/data/models/stories260k-deepseekmoe";

// Feeding a model the text that it would write gives that text, token by token.
TEST(PretrainedModelTest, ADeepSeekMoeTellsItsStory) {
  if (!std::filesystem::exists(kStories)) GTEST_SKIP() << "no model in " << kStories;
  const auto model = LoadModel(kStories, at::kCPU);
  ASSERT_THAT(model, IsOk());
  const auto text = ReadFile(kStories / "golden_greedy.json");
  ASSERT_THAT(text, IsOk());
  const nlohmann::json golden = *ParseJson(*text, "golden_greedy.json");
  auto story = golden.at("prompt_ids").get<std::vector<int32_t>>();
  const size_t prompt = story.size();
  for (const int32_t token : golden.at("greedy_ids")) story.push_back(token);

  const std::vector<float> logits = SequenceLogits(*model, Adapter(), {&story, 1}).front();
  const auto vocabulary = static_cast<size_t>(model->config.vocabulary_size);
  for (size_t i = prompt; i < story.size(); ++i) {
    const auto begin = logits.begin() + static_cast<ptrdiff_t>((i - 1) * vocabulary);
    const auto best = std::max_element(begin, begin + static_cast<ptrdiff_t>(vocabulary));
    ASSERT_EQ(best - begin, story[i]) << "token " << i;
  }
  const auto first = golden.at("first_step_logits_0_11").get<std::vector<float>>();
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_NEAR(logits[(prompt - 1) * vocabulary + i], first[i], 1e-4) << "logit " << i;
  }
}

}  // namespace
}  // namespace fedtune
