// SPDX-License-Identifier: Apache-2.0

// Prints what a tokenizer makes of the hostile corpus, for test_tokenizers.py.

#include <filesystem>
#include <iostream>

#include "base/command_line.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "tests/interop/hostile_digests.h"

namespace fedtune {
namespace {

absl::Status PrintDigests(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(file));
  ASSIGN_OR_RETURN(const nlohmann::json digests, HostileDigests(json, file.string()));
  std::cout << digests.dump() << '\n';
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  std::filesystem::path file;
  fedtune::CommandLine line({"tokenizer_digests",
                             "Prints digests of what a tokenizer makes of hostile texts, as JSON.",
                             {"tokenizer_digests --tokenizer tokenizer.json"}});
  line.root().add_option("--tokenizer", file, "A tokenizer.json")->required();
  line.SetAction([&file] { return fedtune::PrintDigests(file); });
  return line.Run(argc, argv);
}
