// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/load_model.h"

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ATen/ops/equal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/transformer/fake_device.h"
#include "model/transformer/finite_weights.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::FakeDevice;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// A tensor as it goes into a checkpoint that is not quite right.
struct Changed {
  TensorInfo info;
  std::vector<std::byte> bytes;
};

// Copies of a golden checkpoint with one thing wrong.
class LoadModelTest : public ::testing::Test {
 protected:
  void Copy(std::string_view name, const std::function<void(std::vector<Changed>&)>& change) {
    const std::filesystem::path golden = std::filesystem::path("tests/interop/golden") / name;
    std::filesystem::copy_file(golden / "config.json", directory_.path() / "config.json");
    const auto file = *SafetensorsFile::Open(golden / "model.safetensors");
    std::vector<Changed> tensors;
    for (const TensorView& tensor : file.tensors()) {
      tensors.push_back({{std::string(tensor.name), tensor.type, tensor.shape},
                         {tensor.bytes.begin(), tensor.bytes.end()}});
    }
    change(tensors);
    std::vector<TensorInfo> infos;
    for (const Changed& tensor : tensors) infos.push_back(tensor.info);
    auto writer = *SafetensorsWriter::Create(directory_.path() / "model.safetensors", infos, {});
    for (const Changed& tensor : tensors) ASSERT_TRUE(writer.Append(tensor.bytes).ok());
    ASSERT_TRUE(std::move(writer).Finish().ok());
  }

  void ExpectRefused(absl::StatusCode code, std::string_view why,
                     ModelForm form = ModelForm::kForCpu) {
    const auto model = LoadModel(directory_.path(), at::kCPU, form);
    EXPECT_THAT(model, HasCode(code));
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(std::string(why)));
  }

  testing::TemporaryDirectory directory_;
};

constexpr std::string_view kOneWeight = "model.layers.1.mlp.experts.3.up_proj.weight";
constexpr std::string_view kBias = "model.layers.1.mlp.gate.e_score_correction_bias";

// Changes one tensor.
auto In(std::string_view name, const std::function<void(Changed&)>& change) {
  return [name, change](std::vector<Changed>& tensors) {
    for (Changed& tensor : tensors) {
      if (tensor.info.name == name) change(tensor);
    }
  };
}

auto Without(std::string_view name) {
  return [name](std::vector<Changed>& tensors) {
    std::erase_if(tensors, [&](const Changed& tensor) { return tensor.info.name == name; });
  };
}

TEST_F(LoadModelTest, RefusesAValueThatIsNotFinite) {
  Copy("v3_b", In(kOneWeight, [](Changed& tensor) {
         const float bad = NAN;
         std::memcpy(tensor.bytes.data() + 40, &bad, sizeof(bad));
       }));
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                std::string(kOneWeight) + " has a value that is not finite", ModelForm::kForGpu);
}

TEST_F(LoadModelTest, ValuesThatStayInTheFileAreLookedAtBeforeTheyAreUsed) {
  Copy("v3_b", In(kOneWeight, [](Changed& tensor) {
         const float bad = INFINITY;
         std::memcpy(tensor.bytes.data() + 40, &bad, sizeof(bad));
       }));
  const auto model = LoadModel(directory_.path(), at::kCPU);
  ASSERT_THAT(model, IsOk());
  const absl::Status status = CheckFiniteWeights(*model);
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(std::string(kOneWeight) + " has a value that is not finite"));
  const auto good = LoadModel("tests/interop/golden/v3_b", at::kCPU);
  ASSERT_THAT(good, IsOk());
  EXPECT_THAT(CheckFiniteWeights(*good), IsOk());
}

// They were looked at when they were copied there, and files are large.
TEST_F(LoadModelTest, ValuesOnAnotherDeviceAreNotReadFromTheFileAgain) {
  Copy("v3_b", [](std::vector<Changed>&) {});
  const auto model = LoadModel(directory_.path(), FakeDevice::device());
  ASSERT_THAT(model, IsOk());
  const size_t size = std::filesystem::file_size(directory_.path() / "model.safetensors");
  std::fstream file(directory_.path() / "model.safetensors", std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(size / 2));
  file << std::string(size / 2, '\xff');
  file.close();
  EXPECT_THAT(CheckFiniteWeights(*model), IsOk());
}

// How many pages that hold nothing but `bytes` are in this process's memory.
int64_t PagesInMemory(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  std::ifstream pages;
  pages.rdbuf()->pubsetbuf(nullptr, 0);  // The system hands out whole entries alone.
  pages.open("/proc/self/pagemap", std::ios::binary);
  int64_t count = 0;
  for (uintptr_t at = (begin + page - 1) / page; (at + 1) * page <= begin + bytes.size(); ++at) {
    uint64_t entry = 0;
    pages.seekg(static_cast<std::streamoff>(at * sizeof(entry)));
    pages.read(reinterpret_cast<char*>(&entry), sizeof(entry));
    EXPECT_TRUE(pages.good());
    count += static_cast<int64_t>(entry >> 63U);
  }
  return count;
}

TEST_F(LoadModelTest, AnEmbeddingDoesNotStayInMemoryOnceItIsLookedAt) {
  const auto model = LoadModel("tests/interop/golden/v3_b", at::kCPU);
  ASSERT_THAT(model, IsOk());
  const TensorView* embedding = model->files->Find("model.embed_tokens.weight");
  const at::Tensor values = model->embedding.clone();
  EXPECT_GT(PagesInMemory(embedding->bytes), 0);
  EXPECT_THAT(CheckFiniteWeights(*model), IsOk());
  EXPECT_EQ(PagesInMemory(embedding->bytes), 0);
  EXPECT_TRUE(model->embedding.equal(values));
}

TEST_F(LoadModelTest, AnEmbeddingThatIsTheHeadStaysInMemory) {
  const auto model = LoadModel("tests/interop/golden/llama_gqa", at::kCPU);
  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(CheckFiniteWeights(*model), IsOk());
  EXPECT_GT(PagesInMemory(model->files->Find("model.embed_tokens.weight")->bytes), 0);
}

TEST_F(LoadModelTest, RefusesAModelWithoutOneOfItsWeights) {
  Copy("v3_b", Without(kOneWeight));
  ExpectRefused(absl::StatusCode::kNotFound, kOneWeight);
}

TEST_F(LoadModelTest, FindsATiedMatrixUnderTheHeadsName) {
  Copy("llama_gqa", In("model.embed_tokens.weight",
                       [](Changed& tensor) { tensor.info.name = "lm_head.weight"; }));
  const auto renamed = LoadModel(directory_.path(), at::kCPU);
  const auto usual = LoadModel("tests/interop/golden/llama_gqa", at::kCPU);
  ASSERT_THAT(renamed, IsOk());
  ASSERT_THAT(usual, IsOk());
  EXPECT_TRUE(renamed->embedding.equal(usual->embedding));
  EXPECT_TRUE(renamed->head.weight.equal(usual->embedding));
  EXPECT_THAT(CheckFiniteWeights(*renamed), IsOk());
}

TEST_F(LoadModelTest, FindsTheTensorsOfAModelThatWasSavedWithoutItsHead) {
  Copy("llama_gqa", [](std::vector<Changed>& tensors) {
    for (Changed& tensor : tensors) tensor.info.name.erase(0, std::string("model.").size());
  });
  const auto renamed = LoadModel(directory_.path(), at::kCPU);
  const auto usual = LoadModel("tests/interop/golden/llama_gqa", at::kCPU);
  ASSERT_THAT(renamed, IsOk());
  ASSERT_THAT(usual, IsOk());
  EXPECT_TRUE(renamed->head.weight.equal(usual->head.weight));
  const auto& one = std::get<GqaWeights>(renamed->layers[2].attention.heads);
  const auto& other = std::get<GqaWeights>(usual->layers[2].attention.heads);
  EXPECT_TRUE(one.v_proj.weight.equal(other.v_proj.weight));
  EXPECT_THAT(CheckFiniteWeights(*renamed), IsOk());
}

TEST_F(LoadModelTest, RefusesAModelWithoutOneOfItsBiases) {
  const std::string bias = "model.layers.1.mlp.up_proj.bias";
  Copy("llama_bias", Without(bias));
  ExpectRefused(absl::StatusCode::kNotFound, bias);
}

TEST_F(LoadModelTest, NamesTheUsualPlaceOfATiedMatrixThatIsNowhere) {
  Copy("llama_gqa", Without("model.embed_tokens.weight"));
  ExpectRefused(absl::StatusCode::kNotFound, "model.embed_tokens.weight");
}

TEST_F(LoadModelTest, RefusesARouterWithoutItsBiases) {
  Copy("v3_b", Without(kBias));
  ExpectRefused(absl::StatusCode::kNotFound, kBias);
}

TEST_F(LoadModelTest, RefusesAWeightOfAnotherShape) {
  Copy("v3_b", In(kOneWeight,
                  [](Changed& tensor) { std::swap(tensor.info.shape[0], tensor.info.shape[1]); }));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but config.json makes it");
}

TEST_F(LoadModelTest, RefusesAWeightOfATypeThatItCannotCompute) {
  Copy("v3_b", In(kOneWeight, [](Changed& tensor) { tensor.info.type = TensorType::kI32; }));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "has values of type I32");
}

TEST_F(LoadModelTest, RefusesBlocksWithoutScales) {
  const std::string scales = std::string(kOneWeight) + "_scale_inv";
  Copy("v3_fp8", Without(scales));
  ExpectRefused(absl::StatusCode::kNotFound, scales);
}

TEST_F(LoadModelTest, LeavesTheLayersForPredictingSeveralTokensAlone) {
  Copy("v3_b", [](std::vector<Changed>& tensors) {
    const std::vector<Changed> layers = tensors;
    for (Changed extra : layers) {
      const size_t at = extra.info.name.find("layers.2.");
      if (at == std::string::npos) continue;
      extra.info.name.replace(at, 9, "layers.3.");
      tensors.push_back(std::move(extra));
    }
  });
  const auto model = LoadModel(directory_.path(), at::kCPU);
  ASSERT_THAT(model, testing::IsOk());
  EXPECT_EQ(model->layers.size(), 3);
}

}  // namespace
}  // namespace fedtune
