// SPDX-License-Identifier: Apache-2.0

// One measurement for bench/open/bench.py, in a process of its own.

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "base/command_line.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/transformer/load_model.h"
#include "model/transformer/product_time.h"
#include "nlohmann/json.hpp"

namespace fedtune::bench {
namespace {

// Of this process, now.
int64_t ResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kilobytes = 0;
    if (word == "VmRSS:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

absl::Status Measure(const std::filesystem::path& folder) {
  const int64_t resident = ResidentBytes();
  const absl::Time start = absl::Now();
  const double cpu = ProcessCpuSeconds();
  ASSIGN_OR_RETURN(const Model model, LoadModel(folder, at::kCPU));
  const nlohmann::ordered_json json = {{"wall_s", absl::ToDoubleSeconds(absl::Now() - start)},
                                       {"cpu_s", ProcessCpuSeconds() - cpu},
                                       {"started_with_bytes", resident},
                                       {"resident_bytes", ResidentBytes()},
                                       {"parameters", model.files->parameter_count()}};
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  std::filesystem::path folder;
  fedtune::CommandLine line({"fedtune-bench-open",
                             "Measures the opening of a checkpoint, for bench/run.sh open.",
                             {"fedtune-bench-open measure --model DIR"}});
  CLI::App& command = line.Add({"measure",
                                "Opens a checkpoint once and prints what it took as JSON.",
                                {"fedtune-bench-open measure --model DIR"}},
                               [&folder] { return fedtune::bench::Measure(folder); });
  command.add_option("--model", folder, "A checkpoint's folder")->required();
  return line.Run(argc, argv);
}
