// SPDX-License-Identifier: Apache-2.0

// Measures how fast texts become tokens, for bench/run.sh tokenizer.

#include <zlib.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace fedtune::bench {
namespace {

constexpr double kLeastSeconds = 1.0;

using Encoded = std::vector<std::vector<int32_t>>;

absl::StatusOr<Encoded> EncodeAll(const Tokenizer& tokenizer,
                                  const std::vector<std::string>& texts) {
  Encoded encoded;
  encoded.reserve(texts.size());
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(encoded.emplace_back(), tokenizer.Encode(text));
  }
  return encoded;
}

double ProcessorSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The median time of a pass over all texts, of as many as take a second.
absl::StatusOr<double> SecondsOfPass(const Tokenizer& tokenizer,
                                     const std::vector<std::string>& texts) {
  std::vector<double> passes;
  for (double total = 0; total < kLeastSeconds; total += passes.back()) {
    const double start = ProcessorSeconds();
    RETURN_IF_ERROR(EncodeAll(tokenizer, texts).status());
    passes.push_back(ProcessorSeconds() - start);
  }
  const auto middle = passes.begin() + static_cast<ptrdiff_t>(passes.size() / 2);
  std::nth_element(passes.begin(), middle, passes.end());
  return *middle;
}

absl::Status Measure(const std::filesystem::path& tokenizer_file,
                     const std::filesystem::path& texts_file) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(tokenizer_file));
  ASSIGN_OR_RETURN(const std::string json, ReadFile(texts_file));
  ASSIGN_OR_RETURN(const nlohmann::json list, ParseJson(json, texts_file.string()));
  const auto texts = list.get<std::vector<std::string>>();
  ASSIGN_OR_RETURN(const Encoded encoded, EncodeAll(tokenizer, texts));
  size_t tokens = 0;
  uLong crc = 0;
  for (const std::vector<int32_t>& ids : encoded) {
    tokens += ids.size();
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(ids.data()), ids.size() * sizeof(ids[0]));
  }
  ASSIGN_OR_RETURN(const double seconds, SecondsOfPass(tokenizer, texts));
  std::cout << nlohmann::json{{"tokens", tokens}, {"crc32", crc}, {"cpu_s", seconds}}.dump()
            << '\n';
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  std::filesystem::path tokenizer;
  std::filesystem::path texts;
  fedtune::CommandLine line(
      {"fedtune-bench-tokenizer",
       "Measures how fast texts become tokens, for bench/run.sh tokenizer.",
       {"fedtune-bench-tokenizer --tokenizer tokenizer.json --texts texts.json"}});
  line.root().add_option("--tokenizer", tokenizer, "A tokenizer.json")->required();
  line.root().add_option("--texts", texts, "JSON file with a list of texts")->required();
  line.SetAction([&] { return fedtune::bench::Measure(tokenizer, texts); });
  return line.Run(argc, argv);
}
