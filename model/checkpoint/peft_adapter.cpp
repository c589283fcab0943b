// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/peft_adapter_names.h"
#include "model/checkpoint/peft_config.h"
#include "model/checkpoint/peft_experts.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/stored_base_weights.h"

namespace fedtune {
namespace {

constexpr char kHead[] = "lm_head";

// The factor that a tensor's name stands for.
struct FactorName {
  std::string module;
  Factor factor = Factor::kA;
};

std::optional<FactorName> ParseFactorName(std::string_view tensor) {
  if (!tensor.starts_with(kPeftPrefix)) return std::nullopt;
  tensor.remove_prefix(kPeftPrefix.size());
  for (const Factor factor : {Factor::kA, Factor::kB}) {
    const std::string_view suffix = PeftSuffixOf(factor);
    if (!tensor.ends_with(suffix) || tensor.size() == suffix.size()) continue;
    return FactorName{std::string(tensor.substr(0, tensor.size() - suffix.size())), factor};
  }
  return std::nullopt;
}

bool IsStoredWeight(std::string_view tensor) {
  return tensor.starts_with(kPeftPrefix) && tensor.ends_with(".weight") && !ParseFactorName(tensor);
}

// Both factors of a module, in the order in which modules first appear.
struct FactorPair {
  std::string module;
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
};

absl::Status Invalid(std::string_view problem) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", kPeftWeightsFile, problem));
}

absl::Status CheckTensor(const TensorView& tensor, const std::optional<FactorName>& name) {
  if (!name) return Invalid(fmt::format("tensor {} is not a LoRA factor", tensor.name));
  if (tensor.shape.size() != 2) {
    return Invalid(
        fmt::format("tensor {} is {}, not a matrix", tensor.name, ShapeToString(tensor.shape)));
  }
  if (!IsConvertibleToFloat(tensor.type) && tensor.type != TensorType::kF64) {
    return Invalid(fmt::format("tensor {} is {}; F64, F32, F16 and BF16 are supported", tensor.name,
                               ToString(tensor.type)));
  }
  return absl::OkStatus();
}

// `base` may be null.
absl::StatusOr<std::vector<FactorPair>> FindPairs(const SafetensorsFile& file,
                                                  const Checkpoint* base) {
  std::vector<FactorPair> pairs;
  std::map<std::string, size_t> places;
  for (const TensorView& tensor : file.tensors()) {
    const std::optional<FactorName> name = ParseFactorName(tensor.name);
    if (base != nullptr && IsStoredWeight(tensor.name)) {
      const absl::Status status =
          CheckStoredBaseWeight(tensor, tensor.name.substr(kPeftPrefix.size()), *base);
      if (!status.ok()) return Invalid(Message(status));
      continue;
    }
    RETURN_IF_ERROR(CheckTensor(tensor, name));
    const auto [place, is_new] = places.try_emplace(name->module, pairs.size());
    if (is_new) pairs.push_back({.module = name->module});
    FactorPair& pair = pairs[place->second];
    (name->factor == Factor::kA ? pair.a : pair.b) = &tensor;
  }
  if (base != nullptr && places.contains(kHead)) {
    const absl::Status status = CheckHeadIsItsOwn(*base);
    if (!status.ok()) return Invalid(Message(status));
  }
  for (const FactorPair& pair : pairs) {
    if (pair.a != nullptr && pair.b != nullptr) continue;
    return Invalid(fmt::format("tensor {}{}{} is missing", kPeftPrefix, pair.module,
                               PeftSuffixOf(pair.a == nullptr ? Factor::kA : Factor::kB)));
  }
  return pairs;
}

absl::StatusOr<AdapterModule> ModuleOf(const FactorPair& pair, const PeftConfig& config) {
  if (const auto key = config.LeftOutBy(pair.module)) {
    return Invalid(fmt::format("tensor {} is of a module that {} in {} leaves out", pair.a->name,
                               *key, kPeftConfigFile));
  }
  const int64_t rank = pair.a->shape[0];
  if (pair.b->shape[1] != rank) {
    return Invalid(fmt::format("tensors {} {} and {} {} differ in rank", pair.a->name,
                               ShapeToString(pair.a->shape), pair.b->name,
                               ShapeToString(pair.b->shape)));
  }
  if (config.RankOf(pair.module) != rank) {
    return Invalid(fmt::format("tensor {} has rank {}, but {} says {}", pair.a->name, rank,
                               kPeftConfigFile, config.RankOf(pair.module)));
  }
  return AdapterModule{.name = pair.module,
                       .in_features = pair.a->shape[1],
                       .out_features = pair.b->shape[0],
                       .lora_rank = rank,
                       .alpha = config.AlphaOf(pair.module)};
}

// The tensor's values, all finite.
absl::StatusOr<std::vector<float>> ValuesOf(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.value_count()));
  if (tensor.type == TensorType::kF64) {
    RoundDoubles(tensor.bytes, values);
  } else {
    DecodeFloats(tensor.type, tensor.bytes, values);
  }
  const auto bad =
      std::find_if_not(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  if (bad == values.end()) return values;
  return Invalid(fmt::format("tensor {} has the value {} at index {}", tensor.name, *bad,
                             bad - values.begin()));
}

// Which parameter of the routed experts a pair is of, whose module is their
// container, or what peft calls its inner layer where it adapts both.
absl::StatusOr<std::string> ParameterOf(const FactorPair& pair, bool is_one_of_two,
                                        const PeftConfig& config) {
  constexpr std::string_view kInner = ".base_layer";
  std::string experts = pair.module;
  if (experts.ends_with(kInner)) {
    experts.resize(experts.size() - kInner.size());
    return experts + ".gate_up_proj";
  }
  const bool gate_up = config.TargetsParameter(experts + ".gate_up_proj");
  if (is_one_of_two || (config.TargetsParameter(experts + ".down_proj") && !gate_up)) {
    return experts + ".down_proj";
  }
  if (gate_up && !config.TargetsParameter(experts + ".down_proj")) {
    return experts + ".gate_up_proj";
  }
  return Invalid(
      fmt::format("tensor {}: target_parameters in {} does not say whether it is of "
                  "gate_up_proj or of down_proj",
                  pair.a->name, kPeftConfigFile));
}

bool IsFused(std::string_view module) {
  return module.ends_with(".experts") || module.ends_with(".experts.base_layer");
}

// Puts modules and values together in the order of the file.
class AdapterReader {
 public:
  AdapterReader(const PeftConfig& config, const std::vector<FactorPair>& pairs) : config_(config) {
    for (const FactorPair& pair : pairs) names_.insert(pair.module);
  }

  absl::Status Add(const FactorPair& pair) {
    if (IsFused(pair.module)) return AddFused(pair);
    ASSIGN_OR_RETURN(AdapterModule module, ModuleOf(pair, config_));
    ASSIGN_OR_RETURN(const std::vector<float> a, ValuesOf(*pair.a));
    ASSIGN_OR_RETURN(std::vector<float> b, ValuesOf(*pair.b));
    Add(std::move(module), a, std::move(b));
    return absl::OkStatus();
  }

  absl::StatusOr<PeftAdapter> Finish() && {
    absl::StatusOr<AdapterLayout> layout = AdapterLayout::Create(std::move(modules_));
    if (!layout.ok()) return Invalid(Message(layout.status()));
    return PeftAdapter{.layout = *std::move(layout),
                       .values = std::move(values_),
                       .base_model = config_.base_model,
                       .stored_count = stored_count_,
                       .may_leave_out = config_.target_modules.AreUnknown()};
  }

 private:
  absl::Status AddFused(const FactorPair& pair) {
    const bool is_one_of_two = names_.contains(pair.module + ".base_layer");
    ASSIGN_OR_RETURN(const std::string name, ParameterOf(pair, is_one_of_two, config_));
    if (pair.b->shape[1] != pair.a->shape[0]) {
      return Invalid(fmt::format("tensors {} and {} differ in rank", pair.a->name, pair.b->name));
    }
    FactorMatrices parameter{.name = name,
                             .rank = config_.RankOf(name),
                             .in_features = pair.a->shape[1],
                             .out_features = pair.b->shape[0],
                             .a = {},
                             .b = {}};
    ASSIGN_OR_RETURN(parameter.a, ValuesOf(*pair.a));
    ASSIGN_OR_RETURN(parameter.b, ValuesOf(*pair.b));
    const double scale = config_.AlphaOf(name) / static_cast<double>(parameter.rank);
    absl::StatusOr<ExpertModules> split = SplitExperts(parameter, scale);
    if (!split.ok()) return Invalid(Message(split.status()));
    for (size_t i = 0; i < split->modules.size(); ++i) {
      Add(std::move(split->modules[i]), split->factors[i].a, std::move(split->factors[i].b));
    }
    return absl::OkStatus();
  }

  // A layout's alphas are positive. Of others, which peft takes, B gets the sign, or nothing
  // is left of it.
  static void MovePolarity(AdapterModule& module, std::vector<float>& b) {
    if (module.alpha > 0) return;
    const float factor = module.alpha < 0 ? -1.0F : 0.0F;
    for (float& value : b) value *= factor;
    module.alpha = module.alpha < 0 ? -module.alpha : static_cast<double>(module.lora_rank);
  }

  void Add(AdapterModule module, std::span<const float> a, std::vector<float> b) {
    MovePolarity(module, b);
    stored_count_ += std::ssize(a) + std::ssize(b);
    const auto is_zero = [](float value) { return value == 0; };
    if (ExpertName::Parse(module.name) && std::all_of(a.begin(), a.end(), is_zero) &&
        std::all_of(b.begin(), b.end(), is_zero)) {
      return;
    }
    modules_.push_back(std::move(module));
    values_.insert(values_.end(), a.begin(), a.end());
    values_.insert(values_.end(), b.begin(), b.end());
  }

  const PeftConfig& config_;
  std::set<std::string> names_;
  std::vector<AdapterModule> modules_;
  std::vector<float> values_;
  int64_t stored_count_ = 0;
};

absl::Status CheckModule(const AdapterModule& found, const AdapterModule& expected) {
  const auto shape = [](const AdapterModule& module) {
    return fmt::format("rank {} from {} to {}", module.lora_rank, module.in_features,
                       module.out_features);
  };
  if (shape(found) != shape(expected)) {
    return Invalid(fmt::format("module {} has {}; {} was expected", found.name, shape(found),
                               shape(expected)));
  }
  if (std::abs(found.scale() - expected.scale()) <= 1e-9 * std::abs(expected.scale())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("{}: module {} has alpha {}; {} was expected",
                                                kPeftConfigFile, found.name, found.alpha,
                                                expected.alpha));
}

// Where each module's A starts in the flat vector; its B follows.
std::map<std::string_view, int64_t> OffsetsOf(const AdapterLayout& layout) {
  std::map<std::string_view, int64_t> offsets;
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (tensor.factor != Factor::kA) continue;
    offsets[layout.modules()[static_cast<size_t>(tensor.module_index)].name] = tensor.offset;
  }
  return offsets;
}

// Older versions of peft pickled their factors, which is code to whoever reads them.
absl::StatusOr<SafetensorsFile> OpenWeights(const std::filesystem::path& directory) {
  constexpr char kPickled[] = "adapter_model.bin";
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(directory / kPeftWeightsFile);
  std::error_code unreadable_is_not_there;
  if (!absl::IsNotFound(file.status()) ||
      !std::filesystem::exists(directory / kPickled, unreadable_is_not_there)) {
    return file;
  }
  return absl::NotFoundError(
      fmt::format("{}: there is no {}, and {} is not read; peft's save_pretrained() writes the "
                  "first",
                  directory.string(), kPeftWeightsFile, kPickled));
}

absl::StatusOr<PeftAdapter> Read(const std::filesystem::path& directory, const Checkpoint* base) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(directory / kPeftConfigFile));
  ASSIGN_OR_RETURN(const PeftConfig config, ParsePeftConfig(text, kPeftConfigFile));
  ASSIGN_OR_RETURN(const SafetensorsFile file, OpenWeights(directory));
  ASSIGN_OR_RETURN(const std::vector<FactorPair> pairs, FindPairs(file, base));
  AdapterReader reader(config, pairs);
  for (const FactorPair& pair : pairs) RETURN_IF_ERROR(reader.Add(pair));
  return std::move(reader).Finish();
}

}  // namespace

absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory) {
  return Read(directory, nullptr);
}

absl::StatusOr<PeftAdapter> ReadPeftAdapter(const std::filesystem::path& directory,
                                            const Checkpoint& base) {
  return Read(directory, &base);
}

absl::StatusOr<std::vector<float>> ReadPeftAdapter(const std::filesystem::path& directory,
                                                   const AdapterLayout& layout) {
  ASSIGN_OR_RETURN(const PeftAdapter adapter, ReadPeftAdapter(directory));
  std::map<std::string_view, int64_t> places = OffsetsOf(adapter.layout);
  std::map<std::string_view, const AdapterModule*> found;
  for (const AdapterModule& module : adapter.layout.modules()) found[module.name] = &module;
  std::vector<float> values;
  values.reserve(static_cast<size_t>(layout.parameter_count()));
  for (const AdapterModule& module : layout.modules()) {
    const auto match = found.find(module.name);
    if (match == found.end()) return Invalid(fmt::format("module {} is missing", module.name));
    RETURN_IF_ERROR(CheckModule(*match->second, module));
    const auto start = adapter.values.begin() + places[module.name];
    values.insert(values.end(), start,
                  start + module.lora_rank * (module.in_features + module.out_features));
    found.erase(match);
  }
  if (found.empty()) return values;
  return Invalid(fmt::format("module {} was not expected", found.begin()->first));
}

}  // namespace fedtune
