// SPDX-License-Identifier: Apache-2.0

// Prints what our model computes, for check_pulled_model.py:
//
//   model_logits --base DIR [--adapter DIR] --tokens FILE > expected.json
//
// FILE is {"token_ids": [[...], ...]}; "logits" is added to it.

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/command_line.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/transformer/load_model.h"
#include "model/transformer/logits.h"

namespace fedtune {
namespace {

struct Options {
  std::filesystem::path base;
  std::optional<std::filesystem::path> adapter;
  std::filesystem::path tokens;
};

absl::StatusOr<Adapter> ReadAdapter(const Options& options, const Model& model) {
  if (!options.adapter) return Adapter();
  ASSIGN_OR_RETURN(const PeftAdapter stored, ReadPeftAdapter(*options.adapter, *model.files));
  ASSIGN_OR_RETURN(Adapter adapter,
                   Adapter::Create(stored.layout, model.linear_layers, model.device()));
  RETURN_IF_ERROR(adapter.Load(stored.values));
  return adapter;
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

absl::Status PrintLogits(const Options& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.tokens));
  ASSIGN_OR_RETURN(nlohmann::json content, ParseJson(text, options.tokens.string()));
  ASSIGN_OR_RETURN(const Model model, LoadModel(options.base, at::kCPU));
  ASSIGN_OR_RETURN(const Adapter adapter, ReadAdapter(options, model));
  const auto sequences = content.at("token_ids").get<std::vector<std::vector<int32_t>>>();
  content["logits"] =
      Nested(SequenceLogits(model, adapter, sequences), model.config.vocabulary_size);
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
  line.SetAction([&options] { return fedtune::PrintLogits(options); });
  return line.Run(argc, argv);
}
