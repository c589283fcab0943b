// SPDX-License-Identifier: Apache-2.0

// Prints what tokenizers make of texts, for test_random_tokenizers.py. Each line of stdin is
// {"tokenizer": "<a tokenizer.json>", "texts": [...]}; for each one line is printed,
// {"ids": [[...], ...], "decoded": [...], "plain": [...]} or {"error": "..."}.

#include <iostream>
#include <string>

#include "base/command_line.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {
namespace {

absl::StatusOr<nlohmann::json> Tokenized(const nlohmann::json& request) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer,
                   Tokenizer::FromJson(request.at("tokenizer").get<std::string>(), "file"));
  nlohmann::json result;
  for (const nlohmann::json& text : request.at("texts")) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(text.get<std::string>()));
    result["ids"].push_back(ids);
    result["decoded"].push_back(tokenizer.Decode(ids, /*skip_special=*/false));
    result["plain"].push_back(tokenizer.Decode(ids, /*skip_special=*/true));
  }
  return result;
}

absl::Status PrintAll() {
  for (std::string line; std::getline(std::cin, line);) {
    ASSIGN_OR_RETURN(const nlohmann::json request, ParseJson(line, "stdin"));
    const absl::StatusOr<nlohmann::json> result = Tokenized(request);
    const nlohmann::json answer =
        result.ok() ? *result : nlohmann::json{{"error", Message(result.status())}};
    std::cout << answer.dump() << '\n';
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  fedtune::CommandLine line({"tokenized_texts",
                             "Prints what tokenizers make of texts, as JSON in lines.",
                             {"tokenized_texts < requests.jsonl"}});
  line.SetAction(fedtune::PrintAll);
  return line.Run(argc, argv);
}
