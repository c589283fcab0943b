// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_adapter.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "base/files.h"
#include "gmock/gmock.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/safetensors_writer.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kQuery[] = "model.layers.0.self_attn.q_proj";
constexpr char kUp[] = "model.layers.0.mlp.up_proj";
constexpr char kUpWeight[] = "model.layers.0.mlp.up_proj.weight";  // As peft's parameter.

AdapterLayout Layout() { return *AdapterLayout::Create({{kQuery, 4, 6, 2, 4}, {kUp, 4, 5, 3, 6}}); }

std::vector<float> Values() {
  std::vector<float> values(static_cast<size_t>(Layout().parameter_count()));
  std::iota(values.begin(), values.end(), 0.5F);
  return values;
}

class PeftAdapterTest : public ::testing::Test {
 protected:
  void Write() { ASSERT_THAT(WritePeftAdapter(path_, Layout(), Values(), "base"), IsOk()); }

  // Replaces the weights by what `change` leaves of them.
  void Rewrite(const std::function<void(std::vector<TensorView>&)>& change) {
    auto file = SafetensorsFile::Open(path_ / "adapter_model.safetensors");
    ASSERT_THAT(file, IsOk());
    std::vector<TensorView> tensors = file->tensors();
    change(tensors);
    ASSERT_THAT(WriteSafetensors(path_ / "adapter_model.safetensors", tensors, {}), IsOk());
  }

  void SetInConfig(const char* key, const nlohmann::json& value) {
    const std::filesystem::path file = path_ / "adapter_config.json";
    auto config = nlohmann::json::parse(*ReadFile(file));
    config[key] = value;
    ASSERT_THAT(WriteFileAtomically(file, config.dump()), IsOk());
  }

  std::string Error(absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    const auto values = ReadPeftAdapter(path_, Layout());
    EXPECT_THAT(values, HasCode(code));
    return values.ok() ? "" : std::string(values.status().message());
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "adapter";
};

TEST_F(PeftAdapterTest, ReadsBackWhatItWrote) {
  Write();
  const auto adapter = ReadPeftAdapter(path_);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_EQ(adapter->layout, Layout());
  EXPECT_EQ(adapter->values, Values());
  EXPECT_EQ(adapter->base_model, "base");
}

TEST_F(PeftAdapterTest, OrdersValuesAsTheLayoutAsks) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { std::reverse(tensors.begin(), tensors.end()); });
  const auto values = ReadPeftAdapter(path_, Layout());
  ASSERT_THAT(values, IsOk());
  EXPECT_EQ(*values, Values());
}

TEST_F(PeftAdapterTest, NamesTensorsAsPeftDoes) {
  Write();
  const auto file = SafetensorsFile::Open(path_ / "adapter_model.safetensors");
  ASSERT_THAT(file, IsOk());
  const TensorView* b =
      file->Find("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(ShapeToString(b->shape), "[6, 2]");
}

TEST_F(PeftAdapterTest, DoesNotOverwriteAFolder) {
  Write();
  EXPECT_THAT(WritePeftAdapter(path_, Layout(), Values(), ""),
              HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_F(PeftAdapterTest, LeavesNothingWhenItIsToStop) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(WritePeftAdapter(path_, Layout(), Values(), "base", {}, stop.get_token()),
              HasCode(absl::StatusCode::kCancelled));
  EXPECT_TRUE(std::filesystem::is_empty(path_.parent_path()));
}

TEST_F(PeftAdapterTest, FillsAnEmptyFolder) {
  ASSERT_THAT(MakeDirectories(path_), IsOk());
  EXPECT_THAT(WritePeftAdapter(path_ / "", Layout(), Values(), ""), IsOk());
  EXPECT_THAT(ReadPeftAdapter(path_), IsOk());
}

TEST_F(PeftAdapterTest, NamesTheFactorThatIsMissing) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors.pop_back(); });
  EXPECT_THAT(Error(), HasSubstr("mlp.up_proj.lora_B.weight is missing"));
}

TEST_F(PeftAdapterTest, NamesTheModuleThatIsMissing) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors.resize(2); });
  EXPECT_THAT(Error(), HasSubstr("module model.layers.0.mlp.up_proj is missing"));
}

TEST_F(PeftAdapterTest, NamesTheModuleThatIsTooMany) {
  Write();
  const auto smaller = AdapterLayout::Create({{kQuery, 4, 6, 2, 4}});
  const auto values = ReadPeftAdapter(path_, *smaller);
  ASSERT_THAT(values, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(values.status().message()),
              HasSubstr("module model.layers.0.mlp.up_proj was not expected"));
}

TEST_F(PeftAdapterTest, RefusesATensorThatIsNoFactor) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors[0].name = "lm_head.weight"; });
  EXPECT_THAT(Error(), HasSubstr("tensor lm_head.weight is not a LoRA factor"));
}

TEST_F(PeftAdapterTest, RefusesARankThatTheConfigurationDoesNotName) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) {
    tensors[0].shape = {1, 8};
    tensors[1].shape = {12, 1};
  });
  EXPECT_THAT(Error(), HasSubstr("has rank 1, but adapter_config.json says 2"));
}

// peft would leave its factors out.
TEST_F(PeftAdapterTest, RefusesAModuleThatTheConfigurationDoesNotName) {
  Write();
  SetInConfig("target_modules", {"q_proj"});
  SetInConfig("target_parameters", {"gate_proj.weight"});
  EXPECT_THAT(Error(), HasSubstr("tensor base_model.model.model.layers.0.mlp.up_proj.lora_A.weight "
                                 "is of a module that target_modules in adapter_config.json "
                                 "leaves out"));
}

TEST_F(PeftAdapterTest, RefusesAModuleWhereParametersAloneAreNamed) {
  Write();
  for (const nlohmann::json& none : {nlohmann::json(nullptr), nlohmann::json::array()}) {
    SetInConfig("target_modules", none);
    SetInConfig("target_parameters", {kUpWeight});
    EXPECT_THAT(Error(), HasSubstr("q_proj.lora_A.weight is of a module that target_modules"));
  }
}

TEST_F(PeftAdapterTest, RoundsDoubles) {
  Write();
  std::vector<double> doubles;
  for (const float value : Values()) doubles.push_back(value + 1e-9);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(doubles));
  Rewrite([&](std::vector<TensorView>& tensors) {
    size_t offset = 0;
    for (TensorView& tensor : tensors) {
      const size_t size = static_cast<size_t>(tensor.value_count()) * sizeof(double);
      tensor.type = TensorType::kF64;
      tensor.bytes = bytes.subspan(offset, size);
      offset += size;
    }
  });
  const auto adapter = ReadPeftAdapter(path_);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_EQ(adapter->values, Values());
}

TEST_F(PeftAdapterTest, RefusesADoubleThatNoFloatCanBe) {
  Write();
  const std::vector<double> doubles(8, 1e39);
  Rewrite([&](std::vector<TensorView>& tensors) {
    tensors[0].type = TensorType::kF64;
    tensors[0].bytes = std::as_bytes(std::span(doubles));
  });
  EXPECT_THAT(Error(), HasSubstr("q_proj.lora_A.weight has the value inf at index 0"));
}

// As peft computes it.
TEST_F(PeftAdapterTest, MovesTheSignOfAnAlphaIntoB) {
  Write();
  SetInConfig("alpha_pattern", {{kUpWeight, -6}});
  const auto adapter = ReadPeftAdapter(path_);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_EQ(adapter->layout, Layout());
  std::vector<float> expected = Values();
  for (auto b = expected.end() - 5 * 3; b != expected.end(); ++b) *b = -*b;
  EXPECT_EQ(adapter->values, expected);
}

TEST_F(PeftAdapterTest, LeavesNothingOfWhatHasAnAlphaOfZero) {
  Write();
  SetInConfig("alpha_pattern", {{kUpWeight, 0}});
  const auto adapter = ReadPeftAdapter(path_);
  ASSERT_THAT(adapter, IsOk());
  EXPECT_EQ(adapter->layout.modules()[1].alpha, 3) << "any scale: B is zero";
  EXPECT_TRUE(std::all_of(adapter->values.end() - 5 * 3, adapter->values.end(),
                          [](float value) { return value == 0; }));
}

TEST_F(PeftAdapterTest, RefusesFactorsThatDoNotMultiply) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors[0].shape = {4, 2}; });
  EXPECT_THAT(Error(), HasSubstr("differ in rank"));
}

TEST_F(PeftAdapterTest, RefusesSizesThatTheLayoutDoesNotHave) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) {
    tensors[1].shape = {3, 2};
    tensors[1].bytes = tensors[1].bytes.first(24);
  });
  EXPECT_THAT(Error(), HasSubstr("rank 2 from 4 to 3; rank 2 from 4 to 6 was expected"));
}

TEST_F(PeftAdapterTest, RefusesAnotherScale) {
  Write();
  const auto other = AdapterLayout::Create({{kQuery, 4, 6, 2, 5}, {kUp, 4, 5, 3, 6}});
  const auto values = ReadPeftAdapter(path_, *other);
  ASSERT_THAT(values, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(values.status().message()), HasSubstr("has alpha 4; 5 was expected"));
}

TEST_F(PeftAdapterTest, RefusesAVector) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors[0].shape = {8}; });
  EXPECT_THAT(Error(), HasSubstr("is [8], not a matrix"));
}

TEST_F(PeftAdapterTest, RefusesIntegers) {
  Write();
  Rewrite([](std::vector<TensorView>& tensors) { tensors[0].type = TensorType::kI32; });
  EXPECT_THAT(Error(), HasSubstr("is I32"));
}

TEST_F(PeftAdapterTest, NamesTheValueThatIsNotFinite) {
  std::vector<float> values = Values();
  values[3] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_THAT(WritePeftAdapter(path_, Layout(), values, ""), IsOk());
  EXPECT_THAT(Error(), HasSubstr("q_proj.lora_A.weight has the value nan at index 3"));
}

TEST_F(PeftAdapterTest, SaysWhichFileIsMissing) {
  EXPECT_THAT(Error(absl::StatusCode::kNotFound), HasSubstr("adapter_config.json"));
  Write();
  std::filesystem::remove(path_ / "adapter_model.safetensors");
  EXPECT_THAT(Error(absl::StatusCode::kNotFound), HasSubstr("adapter_model.safetensors"));
}

TEST_F(PeftAdapterTest, SaysThatPickledFactorsAreNotRead) {
  Write();
  std::filesystem::rename(path_ / "adapter_model.safetensors", path_ / "adapter_model.bin");
  EXPECT_THAT(
      Error(absl::StatusCode::kNotFound),
      HasSubstr("there is no adapter_model.safetensors, and adapter_model.bin is not read"));
}

TEST(GoldenPeftAdapterTest, IsReadWithItsPatterns) {
  const std::filesystem::path golden = "tests/interop/golden";
  const auto adapter = ReadPeftAdapter(golden / "peft_adapter");
  ASSERT_THAT(adapter, IsOk());
  const auto base = DescribeBaseModel(golden / "model_a");
  ASSERT_THAT(base, IsOk());
  size_t adapted = 0;
  for (const LinearLayer& layer : base->linear_layers) {
    adapted += layer.kind == LayerKind::kAttention || layer.kind == LayerKind::kDenseMlp ||
               layer.kind == LayerKind::kSharedExpert;
  }
  EXPECT_EQ(adapter->layout.modules().size(), adapted);
  for (const AdapterModule& module : adapter->layout.modules()) {
    const bool output = module.name.ends_with("o_proj");
    const bool special = module.name == "model.layers.1.mlp.shared_experts.up_proj";
    EXPECT_EQ(module.lora_rank, output ? 6 : special ? 2 : 4) << module.name;
    EXPECT_EQ(module.alpha, output ? 6 : 8) << module.name;
  }
}

}  // namespace
}  // namespace fedtune
