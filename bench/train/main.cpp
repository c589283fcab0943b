// SPDX-License-Identifier: Apache-2.0

// One measurement for bench/train/bench.py, in a process of its own, so that
// its peak memory is that of this training alone.

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "aggregation/adapter_init.h"
#include "base/command_line.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "bench/train/random_model.h"
#include "client/training/brief_spinning.h"
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
  int threads = 0;
  int64_t steps = 10;  // After one to warm up.
  Plan plan;
};

int64_t PeakBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// Random tokens, every one but the first to be predicted.
std::vector<TokenizedRecord> RandomRecords(const TrainingPlan& training, int64_t vocabulary) {
  std::mt19937_64 bits(7);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(vocabulary - 1));
  std::vector<TokenizedRecord> records(static_cast<size_t>(training.batch_size));
  for (TokenizedRecord& record : records) {
    for (int64_t i = 0; i < training.sequence_length; ++i) record.tokens.push_back(token(bits));
    record.is_target.assign(record.tokens.size(), 1);
    record.is_target[0] = 0;
  }
  return records;
}

// The frozen layers of a step, each with its share of the rows.
std::vector<ProductShape> ProductsOf(const BaseModelDescription& model, int64_t rows) {
  std::vector<ProductShape> shapes;
  for (const LinearLayer& layer : model.linear_layers) {
    const int64_t own = layer.kind == LayerKind::kRoutedExpert
                            ? rows * model.experts_per_token / model.routed_expert_count
                            : rows;
    const auto same = std::find_if(shapes.begin(), shapes.end(), [&](const ProductShape& shape) {
      return shape.rows == own && shape.in_features == layer.in_features &&
             shape.out_features == layer.out_features;
    });
    if (same == shapes.end()) {
      shapes.push_back({1, own, layer.in_features, layer.out_features});
    } else {
      ++same->count;
    }
  }
  return shapes;
}

// The medians of some runs of the bare products.
struct ProductSeconds {
  double wall = 0;
  double cpu = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

ProductSeconds MedianProducts(const std::vector<ProductShape>& shapes) {
  std::vector<double> wall, cpu;
  for (int i = 0; i < kProductRuns; ++i) {
    const ProductTimes times = TimeProducts(shapes);
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
  Batch batch;
  for (const TokenizedRecord& record : records) batch.push_back(&record);
  TrainingRequest request;
  request.layout = &layout;
  request.adapter = start;
  request.steps = flags.steps + 1;
  request.batch = [&](int64_t) { return batch; };
  request.learning_rate = [](int64_t) { return 1e-4; };
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

absl::Status Measure(Flags flags) {
  flags.plan.adapter.routed_rank = flags.plan.adapter.rank;
  const TrainingPlan& training = flags.plan.training;
  const int64_t started_with = PeakBytes();
  ASSIGN_OR_RETURN(const BaseModelDescription model, DescribeBaseModel(flags.model));
  ASSIGN_OR_RETURN(const AdapterLayout layout, ResolveTargets(model, flags.plan.adapter));
  ASSIGN_OR_RETURN(const auto trainer,
                   OpenTorchTrainer({.model_directory = flags.model, .threads = flags.threads}));
  ASSIGN_OR_RETURN(const StepTimes times,
                   Train(*trainer, flags, layout, RandomRecords(training, model.vocabulary_size)));
  const int64_t peak = PeakBytes();
  const PlanCost cost = EstimateCost(flags.plan, model, layout, ComputeType::kFp32);
  const int64_t tokens = training.batch_size * training.sequence_length;
  const ProductSeconds gemm = MedianProducts({{1, kGemmSize, kGemmSize, kGemmSize}});
  const ProductSeconds products = MedianProducts(ProductsOf(model, tokens));
  const nlohmann::ordered_json json = {
      {"trained_parameters", layout.parameter_count()},
      {"tokens", tokens},
      {"wall_s", times.wall},
      {"cpu_s", times.cpu},
      {"started_with_bytes", started_with},
      {"peak_bytes", peak},
      {"forecast_bytes", cost.memory_bytes()},
      {"products_s", products.wall},
      {"products_cpu_s", products.cpu},
      {"gemm_per_s", 4 * std::pow(static_cast<double>(kGemmSize), 3) / gemm.wall}};
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

absl::Status MakeModel(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::string config, ReadFile(flags.config));
  return WriteRandomModel(config, flags.model);
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
  command.add_option("--steps", flags.steps, "Steps after the first")->check(CLI::PositiveNumber);
  command.add_option("--threads", flags.threads, "0: all cores")->check(CLI::NonNegativeNumber);
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  fedtune::SpinBriefly(argv);  // As fedtune-client does.
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
  return line.Run(argc, argv);
}
