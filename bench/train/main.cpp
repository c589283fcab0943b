// SPDX-License-Identifier: Apache-2.0

// One measurement for bench/train/bench.py, in a process of its own, so that
// its peak memory is that of this training alone.

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "aggregation/adapter_init.h"
#include "base/command_line.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "bench/train/random_model.h"
#include "bench/train/random_records.h"
#include "bench/train/step_products.h"
#include "client/data/packed_rows.h"
#include "client/training/brief_spinning.h"
#include "client/training/tensor_memory.h"
#include "client/training/torch_trainer.h"
#include "fmt/format.h"
#include "model/transformer/product_time.h"
#include "nlohmann/json.hpp"
#include "plan/adapter_targets.h"
#include "plan/cost.h"

namespace fedtune::bench {
namespace {

constexpr int kProductRuns = 5;
constexpr int64_t kGemmSize = 1536;

struct Flags {
  std::filesystem::path model;
  std::filesystem::path config;
  std::filesystem::path lengths;
  std::filesystem::path data;
  int threads = 0;
  int64_t steps = 10;  // After one to warm up.
  int64_t recomputed_layers = 0;
  bool memory_only = false;
  bool padded = false;
  Plan plan;
};

int64_t PeakBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// Of all steps: those of the file, or as long as --length says.
absl::StatusOr<std::vector<RecordLength>> WantedLengths(const Flags& flags) {
  const TrainingPlan& training = flags.plan.training;
  const auto count = static_cast<size_t>(training.batch_size * (flags.steps + 1));
  if (flags.lengths.empty()) {
    return std::vector<RecordLength>(count, {.tokens = training.sequence_length, .prompt = 1});
  }
  ASSIGN_OR_RETURN(const std::string json, ReadFile(flags.lengths));
  ASSIGN_OR_RETURN(std::vector<RecordLength> lengths, ParseLengths(json));
  if (lengths.size() < count) {
    return absl::InvalidArgumentError(fmt::format("{} holds {} records, and {} are needed",
                                                  flags.lengths.string(), lengths.size(), count));
  }
  lengths.resize(count);
  return lengths;
}

// In all steps but the first.
int64_t TokensAfterFirst(std::span<const RecordLength> lengths, int64_t batch_size) {
  int64_t tokens = 0;
  for (const RecordLength& length : lengths.subspan(static_cast<size_t>(batch_size))) {
    tokens += length.tokens;
  }
  return tokens;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The medians of some runs.
ProductTimes MedianOf(const std::function<ProductTimes()>& products) {
  std::vector<double> wall, cpu;
  for (int i = 0; i < kProductRuns; ++i) {
    const ProductTimes times = products();
    wall.push_back(times.wall_seconds);
    cpu.push_back(times.cpu_seconds);
  }
  return {Median(wall), Median(cpu)};
}

// Wall and CPU seconds of each step.
struct StepTimes {
  std::vector<double> wall, cpu;
};

absl::StatusOr<StepTimes> Train(Trainer& trainer, const Flags& flags, const AdapterLayout& layout,
                                const std::vector<TokenizedRecord>& records) {
  const std::vector<float> start = InitialAdapter(layout, 1);
  const auto batch_size = static_cast<size_t>(flags.plan.training.batch_size);
  TrainingRequest request;
  request.layout = &layout;
  request.adapter = start;
  request.steps = flags.steps + 1;
  request.batch = [&](int64_t step) {
    Batch batch;
    const auto begin = static_cast<size_t>(step) * batch_size;
    for (size_t i = begin; i < begin + batch_size; ++i) batch.push_back(&records[i]);
    return batch;
  };
  request.learning_rate = [](int64_t) { return 1e-4; };
  request.recomputed_layers = flags.recomputed_layers;
  StepTimes times;
  absl::Time wall = absl::Now();
  double cpu = ProcessCpuSeconds();
  RETURN_IF_ERROR(trainer
                      .Train(request,
                             [&](const TrainingProgress&) {
                               const absl::Time now = absl::Now();
                               const double cpu_now = ProcessCpuSeconds();
                               times.wall.push_back(absl::ToDoubleSeconds(now - wall));
                               times.cpu.push_back(cpu_now - cpu);
                               wall = now;
                               cpu = cpu_now;
                               return true;
                             })
                      .status());
  times.wall.erase(times.wall.begin());
  times.cpu.erase(times.cpu.begin());
  return times;
}

// The length whose square is the mean of the squares: what attention takes grows with it.
int64_t MeanLength(std::span<const RecordLength> lengths) {
  double squares = 0;
  for (const RecordLength& length : lengths) {
    squares += static_cast<double>(length.tokens) * static_cast<double>(length.tokens);
  }
  return std::lround(std::sqrt(squares / static_cast<double>(lengths.size())));
}

// Of a step: its frozen layers' products, and all.
absl::Status AddProducts(const Flags& flags, const BaseModelDescription& model,
                         const AdapterLayout& layout, std::span<const RecordLength> lengths,
                         int64_t tokens, nlohmann::ordered_json& json) {
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(flags.model));
  const bool is_bf16 = model.weight_bytes < 4 * model.parameter_count;
  const auto weights = is_bf16 ? ProductWeights::kBf16 : ProductWeights::kFp32;
  const LayerShape square = {1, kGemmSize, kGemmSize, kGemmSize};
  const ProductTimes gemm = MedianOf([&] { return TimeLayers({&square, 1}, weights); });
  const std::vector<LayerShape> layers = FrozenLayersOf(model, tokens);
  const ProductTimes frozen = MedianOf([&] { return TimeLayers(layers, weights); });
  std::vector<ProductShape> others = LoraProductsOf(model, layout, tokens);
  const std::vector<ProductShape> attention =
      AttentionProductsOf(config, flags.plan.training.batch_size, MeanLength(lengths));
  others.insert(others.end(), attention.begin(), attention.end());
  const ProductTimes rest = MedianOf([&] { return TimeProducts(others, weights); });
  json["frozen_products_s"] = frozen.wall_seconds;
  json["frozen_products_cpu_s"] = frozen.cpu_seconds;
  json["products_s"] = frozen.wall_seconds + rest.wall_seconds;
  json["products_cpu_s"] = frozen.cpu_seconds + rest.cpu_seconds;
  json["gemm_per_s"] = 4 * std::pow(static_cast<double>(kGemmSize), 3) / gemm.wall_seconds;
  return absl::OkStatus();
}

// Of all steps, as they are packed; nothing where all are as long as the plan says.
KnownRecords RowsOfSteps(const Flags& flags, std::span<const TokenizedRecord> records) {
  if (flags.lengths.empty()) return {};
  std::vector<RecordRows> rows;
  for (const TokenizedRecord& record : records) rows.push_back(RowsOf(record));
  const auto batch_size = static_cast<size_t>(flags.plan.training.batch_size);
  KnownRecords known = {.rows = 0, .wanted_rows = 0};
  for (size_t begin = 0; begin < rows.size(); begin += batch_size) {
    const PackedRows most = MostRowsOf(std::span(rows).subspan(begin, batch_size));
    known.rows = std::max(known.rows, most.rows);
    known.wanted_rows = std::max(known.wanted_rows, most.wanted);
  }
  return known;
}

absl::Status Measure(Flags flags) {
  flags.plan.adapter.routed_rank = flags.plan.adapter.rank;
  const TrainingPlan& training = flags.plan.training;
  ASSIGN_OR_RETURN(const std::vector<RecordLength> lengths, WantedLengths(flags));
  const int64_t started_with = PeakBytes();
  ASSIGN_OR_RETURN(const BaseModelDescription model, DescribeBaseModel(flags.model));
  ASSIGN_OR_RETURN(const AdapterLayout layout, ResolveTargets(model, flags.plan.adapter));
  ASSIGN_OR_RETURN(const auto trainer,
                   OpenTorchTrainer({.model_directory = flags.model, .threads = flags.threads}));
  const std::vector<TokenizedRecord> records = RandomRecords(
      flags.padded ? Padded(lengths, training.batch_size) : lengths, model.vocabulary_size);
  ASSIGN_OR_RETURN(const StepTimes times, Train(*trainer, flags, layout, records));
  const int64_t peak = PeakBytes();
  const PlanCost cost = EstimateCost(flags.plan, model, layout, ComputeTypeOfCpu(),
                                     flags.recomputed_layers, RowsOfSteps(flags, records));
  const int64_t tokens = TokensAfterFirst(lengths, training.batch_size) / flags.steps;
  nlohmann::ordered_json json = {{"trained_parameters", layout.parameter_count()},
                                 {"tokens", tokens},
                                 {"wall_s", times.wall},
                                 {"cpu_s", times.cpu},
                                 {"started_with_bytes", started_with},
                                 {"peak_bytes", peak},
                                 {"forecast_bytes", cost.memory_bytes()}};
  if (!flags.memory_only) {
    RETURN_IF_ERROR(AddProducts(flags, model, layout, lengths, tokens, json));
  }
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

absl::Status MakeModel(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::string config, ReadFile(flags.config));
  return WriteRandomModel(config, flags.model);
}

absl::Status PrintLengths(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::vector<RecordLength> lengths,
                   LengthsOf(flags.data, flags.model, flags.plan.training.sequence_length));
  auto json = nlohmann::json::array();
  for (const RecordLength& length : lengths) json.push_back({length.tokens, length.prompt});
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

void AddLengths(CommandLine& line, Flags& flags) {
  CLI::App& command =
      line.Add({"lengths",
                "Prints how many tokens each record of a data set has, and its prompt.",
                {"fedtune-bench-train lengths --model DIR --data train.jsonl --length 512"}},
               [&flags] { return PrintLengths(flags); });
  command.add_option("--model", flags.model, "A folder with the tokenizer")->required();
  command.add_option("--data", flags.data, "JSON lines")->required();
  command.add_option("--length", flags.plan.training.sequence_length, "The context")
      ->check(CLI::PositiveNumber);
}

void AddMeasure(CommandLine& line, Flags& flags) {
  CLI::App& command = line.Add(
      {"measure",
       "Trains for some steps and prints what they took as JSON.",
       {"fedtune-bench-train measure --model DIR --targets attention --batch 8 --length 256"}},
      [&flags] { return Measure(flags); });
  command.add_option("--model", flags.model, "A checkpoint's folder")->required();
  command.add_option("--targets", flags.plan.adapter.targets, "LoRA targets")->delimiter(',');
  command.add_option("--rank", flags.plan.adapter.rank, "Of every layer")
      ->check(CLI::PositiveNumber);
  command.add_option("--batch", flags.plan.training.batch_size, "Records a step")
      ->check(CLI::PositiveNumber);
  command.add_option("--length", flags.plan.training.sequence_length, "Tokens of a record")
      ->check(CLI::Range(2, 1 << 20));
  command.add_option("--lengths", flags.lengths,
                     "Of all records instead, as `lengths` prints them; --length is the context");
  command.add_flag("--padded", flags.padded, "All records of a step as long as its longest");
  command.add_option("--steps", flags.steps, "Steps after the first")->check(CLI::PositiveNumber);
  command
      .add_option("--recomputed-layers", flags.recomputed_layers,
                  "Whose activations are computed again for the derivative, from the first on")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--memory-only", flags.memory_only, "Without the bare products");
  command.add_option("--threads", flags.threads, "0: all cores")->check(CLI::NonNegativeNumber);
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  fedtune::SpinBriefly(argv);  // As fedtune-client does, and the next, too.
  fedtune::KeepTensorsTogether();
  fedtune::bench::Flags flags;
  flags.plan.rounds.count = 1;
  flags.plan.aggregation.mode = fedtune::AggregationMode::kPlain;
  flags.plan.aggregation.method = fedtune::AggregationMethod::kFedit;
  fedtune::CommandLine line({"fedtune-bench-train",
                             "Measures LoRA training, for bench/run.sh train.",
                             {"fedtune-bench-train model --config config.json --out DIR"}});
  fedtune::bench::AddMeasure(line, flags);
  CLI::App& model = line.Add({"model",
                              "Writes a checkpoint of random weights.",
                              {"fedtune-bench-train model --config config.json --out DIR"}},
                             [&flags] { return fedtune::bench::MakeModel(flags); });
  model.add_option("--config", flags.config, "Its config.json")->required();
  model.add_option("--out", flags.model, "The folder")->required();
  fedtune::bench::AddLengths(line, flags);
  return line.Run(argc, argv);
}
