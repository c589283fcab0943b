// SPDX-License-Identifier: Apache-2.0

// All measurements of bench/secagg/bench.py once, as one JSON object; a new one
// is a line here and a row there.

#include <string>

#include "absl/status/status.h"
#include "base/command_line.h"
#include "bench/secagg/limits.h"
#include "bench/secagg/measures.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace fedtune::bench {
namespace {

absl::Status Measure(const SecaggCase& size) {
  const MaskKernel kernel = BestMaskKernel();
  const int client_masks = size.neighbors + 1;
  nlohmann::ordered_json json = {
      {"kernel", std::string(NameOf(kernel))},
      {"client_masks", client_masks},
      {"masks_to_remove", size.masks_to_remove()},
      {"memory_update_per_s", MemoryUpdateRate()},
      {"keystream_per_s", KeystreamRate(kernel, 1)},
      {"mask32_s", MaskSeconds(size, RingBits::k32, client_masks)},
      {"mask24_s", MaskSeconds(size, RingBits::k24, client_masks)},
      {"mask16_s", MaskSeconds(size, RingBits::k16, client_masks)},
      {"one_mask32_s", MaskSeconds(size, RingBits::k32, 1)},
      {"keystream_all_threads_per_s", KeystreamRate(kernel, size.threads)},
      {"unmask_s", UnmaskSeconds(size)},
      {"shamir_s", ShamirSeconds(size)},
      {"wire_bytes", WireBytes(size, RingBits::k32)}};
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  fedtune::bench::SecaggCase size;
  fedtune::CommandLine line(
      {"fedtune-bench-secagg",
       "Measures the numbers of secure aggregation, for bench/run.sh secagg.",
       {"fedtune-bench-secagg --elements 25000000 --clients 100 --neighbors 20"}});
  line.root().add_option("--elements", size.elements, "Of a vector")->check(CLI::PositiveNumber);
  line.root().add_option("--clients", size.clients, "Of a cohort")->check(CLI::Range(3, 10'000));
  line.root()
      .add_option("--neighbors", size.neighbors, "Of each client")
      ->check(CLI::PositiveNumber);
  line.root()
      .add_option("--threshold", size.threshold, "Shares that rebuild a secret")
      ->check(CLI::PositiveNumber);
  line.root().add_option("--threads", size.threads, "For unmasking")->check(CLI::PositiveNumber);
  line.SetAction([&size] { return fedtune::bench::Measure(size); });
  return line.Run(argc, argv);
}
