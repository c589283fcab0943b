// SPDX-License-Identifier: Apache-2.0

// Prints how fast values are quantised, beside what memory gives, as JSON lines.

#include <string>
#include <string_view>

#include "bench/quantise/quantise_time.h"
#include "fmt/format.h"

namespace fedtune::bench {
namespace {

constexpr double kGoal = 0.5;

void Print(std::string_view name, std::string_view metric, double value, std::string_view unit) {
  fmt::print(
      "{{\"bench\": \"quantise\", \"case\": \"{}\", \"metric\": \"{}\", \"value\": {}, "
      "\"unit\": \"{}\"}}\n",
      name, metric, value, unit);
}

void Measure(int64_t elements) {
  const QuantiseTime time = MeasureQuantising(elements, /*repeats=*/9);
  const std::string name = fmt::format("{} M values", elements / 1'000'000);
  const double share = time.bytes_per_s / time.copy_bytes_per_s;
  Print(name, "quantise_elements_per_s", time.elements_per_s, "1/s");
  Print(name, "copy_bytes_per_s", time.copy_bytes_per_s, "B/s");
  fmt::print(
      "{{\"bench\": \"quantise\", \"case\": \"{}\", \"metric\": \"quantise_over_copy\", "
      "\"value\": {}, \"unit\": \"\", \"goal\": {}, \"ok\": {}}}\n",
      name, share, kGoal, share >= kGoal);
  for (const QuantiseKernelTime& kernel : MeasureQuantiseKernels()) {
    Print(fmt::format("kernel {}", kernel.name), "ns_per_element", 1e9 * kernel.seconds_per_element,
          "ns");
  }
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  const bool quick = argc == 2 && std::string_view(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    fmt::print(stderr, "usage: {} [--quick]\n", argv[0]);
    return 2;
  }
  fedtune::bench::Measure(quick ? 5'000'000 : 25'000'000);
  return 0;
}
