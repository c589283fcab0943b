// SPDX-License-Identifier: Apache-2.0

// Prints what our model computes, for check_pulled_model.py:
//
//   model_logits --base DIR [--adapter DIR] [--bf16] [--gradient] --tokens FILE > expected.json
//
// FILE is {"token_ids": [[...], ...]}; "logits" is added to it. With --gradient also "loss",
// the mean over the tokens from "prompt_lengths" ([n, ...], one a sequence) on, and "gradient",
// the loss's by each value of the adapter: {"<module>.lora_A": [...], ...}, row by row.

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/command_line.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/transformer/load_model.h"
#include "model/transformer/loss.h"
#include "model/transformer/sequence_logits.h"

namespace fedtune {
namespace {

struct Options {
  std::filesystem::path base;
  std::optional<std::filesystem::path> adapter;
  std::filesystem::path tokens;
  bool bf16 = false;
  bool gradient = false;
};

using Sequences = std::vector<std::vector<int32_t>>;

// An adapter in both forms.
struct ReadAdapter {
  AdapterLayout layout;
  Adapter adapter;
};

absl::StatusOr<ReadAdapter> Read(const Options& options, const Model& model) {
  if (!options.adapter) return ReadAdapter();
  ASSIGN_OR_RETURN(PeftAdapter stored, ReadPeftAdapter(*options.adapter, *model.files));
  ASSIGN_OR_RETURN(Adapter adapter,
                   Adapter::Create(stored.layout, model.linear_layers, model.device()));
  RETURN_IF_ERROR(adapter.Load(stored.values));
  return ReadAdapter{std::move(stored.layout), std::move(adapter)};
}

// Row by row, as nested lists.
nlohmann::json Nested(const std::vector<std::vector<float>>& logits, int64_t vocabulary) {
  nlohmann::json sequences = nlohmann::json::array();
  for (const std::vector<float>& values : logits) {
    nlohmann::json rows = nlohmann::json::array();
    for (auto row = values.begin(); row != values.end(); row += vocabulary) {
      rows.push_back(std::vector<float>(row, row + vocabulary));
    }
    sequences.push_back(std::move(rows));
  }
  return sequences;
}

// The mean loss of what follows the prompts.
at::Tensor MeanLoss(const Model& model, const Adapter& adapter, const Sequences& sequences,
                    const std::vector<size_t>& prompts) {
  PackedBatch batch;
  std::vector<int64_t> rows, targets;
  for (size_t i = 0; i < sequences.size(); ++i) {
    for (size_t at = prompts.at(i); at < sequences[i].size(); ++at) {
      rows.push_back(batch.rows() + static_cast<int64_t>(at) - 1);
      targets.push_back(sequences[i][at]);
    }
    batch.Add(sequences[i]);
  }
  const at::Tensor hidden = HiddenStates(model, adapter, batch, rows);
  return TokenLossSum(hidden, model.head, adapter.Of(model.head), targets)
      .div(static_cast<double>(targets.size()));
}

// Factor by factor.
absl::StatusOr<nlohmann::json> GradientOf(const ReadAdapter& read, const Model& model) {
  ASSIGN_OR_RETURN(Adapter gradient,
                   Adapter::Create(read.layout, model.linear_layers, model.device()));
  gradient.Train(FactorSet::kBoth);
  gradient.trained_values().copy_(read.adapter.trained_gradients());
  const std::vector<float> values = gradient.Store();
  nlohmann::json factors;
  for (const AdapterTensor& tensor : read.layout.tensors()) {
    const std::string& module =
        read.layout.modules()[static_cast<size_t>(tensor.module_index)].name;
    const auto begin = values.begin() + tensor.offset;
    factors[fmt::format("{}.lora_{}", module, tensor.factor == Factor::kA ? 'A' : 'B')] =
        std::vector<float>(begin, begin + tensor.size());
  }
  return factors;
}

absl::Status AddGradient(const Model& model, ReadAdapter& read, const Sequences& sequences,
                         nlohmann::json& content) {
  const auto prompts = content.at("prompt_lengths").get<std::vector<size_t>>();
  read.adapter.Train(FactorSet::kBoth);
  const at::Tensor loss = MeanLoss(model, read.adapter, sequences, prompts);
  loss.backward();
  content["loss"] = loss.item<double>();
  ASSIGN_OR_RETURN(content["gradient"], GradientOf(read, model));
  return absl::OkStatus();
}

absl::Status PrintLogits(const Options& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.tokens));
  ASSIGN_OR_RETURN(nlohmann::json content, ParseJson(text, options.tokens.string()));
  ASSIGN_OR_RETURN(const Model model,
                   LoadModel(options.base, at::kCPU,
                             options.bf16 ? ModelForm::kForCpuInBf16 : ModelForm::kForCpu));
  ASSIGN_OR_RETURN(ReadAdapter read, Read(options, model));
  const auto sequences = content.at("token_ids").get<Sequences>();
  content["logits"] =
      Nested(SequenceLogits(model, read.adapter, sequences), model.config.vocabulary_size);
  if (options.gradient) RETURN_IF_ERROR(AddGradient(model, read, sequences, content));
  std::cout << content.dump() << '\n';
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  fedtune::Options options;
  fedtune::CommandLine line({"model_logits",
                             "Prints the logits of some token ids as JSON.",
                             {"model_logits --base DIR --adapter DIR --tokens tokens.json"}});
  line.root().add_option("--base", options.base, "Folder of a checkpoint")->required();
  line.root().add_option("--adapter", options.adapter, "Folder of a PEFT adapter");
  line.root().add_option("--tokens", options.tokens, "JSON file with token_ids")->required();
  line.root().add_flag("--bf16", options.bf16, "Weights in bf16 stay so, as those of large models");
  line.root().add_flag("--gradient", options.gradient, "Also the loss and its gradient");
  line.SetAction([&options] { return fedtune::PrintLogits(options); });
  return line.Run(argc, argv);
}
