// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/expert_name.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/checkpoint/peft_adapter_names.h"
#include "model/checkpoint/peft_config.h"
#include "model/checkpoint/peft_experts.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/checkpoint/staged_folder.h"

namespace fedtune {
namespace {

TensorView FactorTensor(std::string_view module, Factor factor, std::vector<int64_t> shape,
                        std::span<const float> values) {
  return {.name = fmt::format("{}{}{}", kPeftPrefix, module, PeftSuffixOf(factor)),
          .type = TensorType::kF32,
          .shape = std::move(shape),
          .bytes = std::as_bytes(values)};
}

// Factors of single modules; of routed experts only where they are stored so.
std::vector<TensorView> SingleTensors(const StackedAdapter& adapter, PeftExperts experts) {
  std::vector<TensorView> tensors;
  for (const AdapterTensor& tensor : adapter.layout.tensors()) {
    const auto& name = adapter.layout.modules()[static_cast<size_t>(tensor.module_index)].name;
    if (experts == PeftExperts::kFused && ExpertName::Parse(name)) continue;
    tensors.push_back(FactorTensor(
        name, tensor.factor, {tensor.rows, tensor.columns},
        std::span(adapter.values)
            .subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size()))));
  }
  return tensors;
}

// peft wraps the experts once for each parameter: gate_up_proj first, and so inside.
std::string WrapperOf(const FactorMatrices& parameter, const std::vector<FactorMatrices>& all) {
  const std::string experts = parameter.name.substr(0, parameter.name.rfind('.'));
  const bool has_outer = std::any_of(all.begin(), all.end(), [&](const FactorMatrices& other) {
    return other.name == experts + ".down_proj";
  });
  return parameter.name.ends_with(".gate_up_proj") && has_outer ? experts + ".base_layer" : experts;
}

void AddFusedTensors(const std::vector<FactorMatrices>& fused, std::vector<TensorView>& tensors) {
  for (const FactorMatrices& parameter : fused) {
    const std::string wrapper = WrapperOf(parameter, fused);
    const int64_t ranks = static_cast<int64_t>(parameter.a.size()) / parameter.in_features;
    tensors.push_back(
        FactorTensor(wrapper, Factor::kA, {ranks, parameter.in_features}, parameter.a));
    tensors.push_back(
        FactorTensor(wrapper, Factor::kB, {parameter.out_features, ranks}, parameter.b));
  }
}

}  // namespace

absl::Status WritePeftAdapter(const std::filesystem::path& directory, const AdapterLayout& layout,
                              std::span<const float> values, std::string_view base_model,
                              const PeftForm& form, const std::stop_token& stop) {
  Check(values.size() == static_cast<size_t>(layout.parameter_count()),
        "an adapter has as many values as its layout");
  ASSIGN_OR_RETURN(const StackedAdapter stacked,
                   StackExperts(layout, values,
                                {.expert_count = form.expert_count.value_or(0),
                                 .stored_single = form.experts == PeftExperts::kSingle}));
  const std::string config = PeftConfigJson(
      stacked.layout, base_model,
      {.rslora = form.rslora, .base_has_experts = form.expert_count.value_or(1) > 0});
  std::vector<TensorView> tensors = SingleTensors(stacked, form.experts);
  std::vector<FactorMatrices> fused;
  if (form.experts == PeftExperts::kFused) fused = FuseExperts(stacked.layout, stacked.values);
  AddFusedTensors(fused, tensors);
  ASSIGN_OR_RETURN(StagedFolder folder, StagedFolder::Create(directory));
  RETURN_IF_ERROR(
      WriteSafetensors(folder.path() / kPeftWeightsFile, tensors, {{"format", "pt"}}, stop));
  RETURN_IF_ERROR(WriteFileAtomically(folder.path() / kPeftConfigFile, config));
  RETURN_IF_ERROR(WriteFileAtomically(folder.path() / kAdapterLayoutFile, layout.ToJson()));
  if (stop.stop_requested()) return absl::CancelledError("stopped");
  return std::move(folder).Commit();
}

}  // namespace fedtune
