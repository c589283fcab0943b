// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_generator.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_writer.h"
#include "tests/support/model_reference.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

const std::filesystem::path kGolden = "tests/interop/golden";
const std::filesystem::path kStories = "../shared/data/models/stories260k-deepseekmoe";

std::unique_ptr<Generator> Open(const std::filesystem::path& model) {
  auto generator =
      OpenTorchGenerator({.model_directory = model, .device = ComputeDevice::Cpu(), .threads = 1},
                         AdapterLayout(), {});
  EXPECT_THAT(generator, IsOk());
  return generator.ok() ? *std::move(generator) : nullptr;
}

const std::vector<int32_t> kPrompt = {0, 9, 17, 33};

TEST(TorchGeneratorTest, WritesTheStoryOfAModelThatWasTrained) {
  if (!std::filesystem::exists(kStories)) GTEST_SKIP() << "no model in " << kStories;
  const nlohmann::json golden =
      *ParseJson(*ReadFile(kStories / "golden_greedy.json"), "golden_greedy.json");
  const auto prompt = golden.at("prompt_ids").get<std::vector<int32_t>>();
  const auto story = golden.at("greedy_ids").get<std::vector<int32_t>>();
  const auto text = Open(kStories)->Generate(
      {.prompt = prompt, .max_tokens = std::ssize(story), .end_tokens = {}});
  ASSERT_THAT(text, IsOk());
  EXPECT_EQ(text->tokens, story);
  EXPECT_FALSE(text->ended);
}

TEST(TorchGeneratorTest, AnEndTokenEndsTheTextAndIsNoneOfIt) {
  const auto generator = Open(kGolden / "v3_b");
  const auto whole = generator->Generate({.prompt = kPrompt, .max_tokens = 20, .end_tokens = {}});
  ASSERT_THAT(whole, IsOk());
  ASSERT_EQ(whole->tokens.size(), 20);
  const std::vector<int32_t> end = {whole->tokens[5]};
  const auto ended = generator->Generate({.prompt = kPrompt, .max_tokens = 20, .end_tokens = end});
  ASSERT_THAT(ended, IsOk());
  EXPECT_TRUE(ended->ended);
  const auto first = std::find(whole->tokens.begin(), whole->tokens.end(), end[0]);
  EXPECT_EQ(ended->tokens, std::vector<int32_t>(whole->tokens.begin(), first));
}

TEST(TorchGeneratorTest, SampledTextsDependOnTheSeed) {
  const auto generator = Open(kGolden / "model_b");
  const auto write = [&](uint64_t seed) {
    return generator
        ->Generate({.prompt = kPrompt,
                    .max_tokens = 20,
                    .end_tokens = {},
                    .sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .seed = seed}})
        ->tokens;
  };
  EXPECT_EQ(write(1), write(1));
  EXPECT_NE(write(1), write(2));
}

TEST(TorchGeneratorTest, EndsWhenItsObserverSaysSo) {
  int tokens = 0;
  const auto text = Open(kGolden / "v3_b")
                        ->Generate({.prompt = kPrompt, .max_tokens = 20, .end_tokens = {}},
                                   [&](int32_t) { return ++tokens < 3; });
  EXPECT_THAT(text, HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(tokens, 3);
}

// The golden model in a folder, but for one value of one weight.
void SpoilOneValue(const std::filesystem::path& golden, std::string_view name,
                   const std::filesystem::path& folder) {
  std::filesystem::copy_file(golden / "config.json", folder / "config.json");
  const auto file = *SafetensorsFile::Open(golden / "model.safetensors");
  std::vector<TensorView> tensors = file.tensors();
  const auto spoilt = std::ranges::find(tensors, name, &TensorView::name);
  ASSERT_NE(spoilt, tensors.end());
  std::vector<std::byte> bytes(spoilt->bytes.begin(), spoilt->bytes.end());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data(), &nan, sizeof nan);
  spoilt->bytes = bytes;
  ASSERT_THAT(WriteSafetensors(folder / "model.safetensors", tensors, {}), IsOk());
}

TEST(TorchGeneratorTest, NamesAWeightThatIsNotFinite) {
  const testing::TemporaryDirectory folder;
  constexpr char kWeight[] = "model.layers.1.self_attn.o_proj.weight";
  SpoilOneValue(kGolden / "v3_b", kWeight, folder.path());
  const auto text =
      Open(folder.path())->Generate({.prompt = kPrompt, .max_tokens = 2, .end_tokens = {}});
  EXPECT_THAT(text, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(text.status().message()), ::testing::HasSubstr(kWeight));
}

// As trainings and evaluations do: another text would have it.
TEST(TorchGeneratorTest, RefusesAnEmbeddingThatIsNotFiniteThoughTheTextHasNoneOfIt) {
  const testing::TemporaryDirectory folder;
  constexpr char kWeight[] = "model.embed_tokens.weight";
  SpoilOneValue(kGolden / "v3_b", kWeight, folder.path());
  const std::vector<int32_t> others = {9, 17, 33};
  const auto text =
      Open(folder.path())->Generate({.prompt = others, .max_tokens = 1, .end_tokens = {}});
  EXPECT_THAT(text, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(text.status().message()), ::testing::HasSubstr(kWeight));
}

TEST(TorchGeneratorTest, WritesNothingWithAnAdapterThatOverflowsTheModel) {
  auto reference = testing::ReadModelReference(kGolden / "model_b");
  ASSERT_THAT(reference, IsOk());
  for (float& value : reference->adapter) value *= 1e30f;
  const auto generator = OpenTorchGenerator(
      {.model_directory = kGolden / "model_b", .device = ComputeDevice::Cpu(), .threads = 1},
      reference->layout, reference->adapter);
  ASSERT_THAT(generator, IsOk());
  const auto text = (*generator)->Generate({.prompt = kPrompt, .max_tokens = 2, .end_tokens = {}});
  EXPECT_THAT(text, HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(std::string(text.status().message()),
              ::testing::HasSubstr("not finite numbers with this adapter"));
}

TEST(TorchGeneratorTest, RefusesWhatTheModelCannotRead) {
  const auto generator = Open(kGolden / "model_a");  // A context of 64 tokens.
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  const std::vector<int32_t> unknown = {96};
  EXPECT_THAT(generator->Generate({.prompt = {}, .max_tokens = 1, .end_tokens = {}}), refused);
  EXPECT_THAT(generator->Generate({.prompt = unknown, .max_tokens = 1, .end_tokens = {}}), refused);
  EXPECT_THAT(generator->Generate({.prompt = kPrompt, .max_tokens = 0, .end_tokens = {}}), refused);
  EXPECT_THAT(generator->Generate({.prompt = kPrompt, .max_tokens = 61, .end_tokens = {}}),
              refused);
  EXPECT_THAT(generator->Generate({.prompt = kPrompt, .max_tokens = 60, .end_tokens = {}}), IsOk());
}

}  // namespace
}  // namespace fedtune
