// SPDX-License-Identifier: Apache-2.0

// One measurement for bench/decode/bench.py, in a process of its own.

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "base/command_line.h"
#include "base/status_macros.h"
#include "bench/decode/read_rate.h"
#include "client/training/brief_spinning.h"
#include "client/training/torch_model.h"
#include "fmt/format.h"
#include "model/transformer/decoder.h"
#include "model/transformer/product_time.h"
#include "nlohmann/json.hpp"

namespace fedtune::bench {
namespace {

// Memory is read between as many tokens, so that whatever else the machine does
// slows both down.
constexpr int64_t kTokensBetweenReads = 8;

struct Flags {
  std::filesystem::path model;
  int threads = 0;
  int64_t prompt = 128;
  int64_t warm_up = 32;
  int64_t tokens = 64;
};

// Bytes of the weights that one token meets.
double ActiveBytes(const Model& model) {
  const MoeConfig& moe = model.config.moe;
  const auto of_value = static_cast<double>(model.embedding.element_size());
  double bytes = model.config.tie_embeddings ? static_cast<double>(model.embedding.nbytes()) : 0;
  for (const LinearLayer& layer : model.linear_layers) {
    const double values = static_cast<double>(layer.in_features * layer.out_features);
    const double share = layer.kind == LayerKind::kRoutedExpert
                             ? static_cast<double>(moe.experts_per_token) /
                                   static_cast<double>(moe.routed_expert_count)
                             : 1;
    bytes += share * values * (layer.kind == LayerKind::kRouter ? sizeof(float) : of_value);
  }
  return bytes;
}

std::vector<int32_t> RandomTokens(int64_t count, int64_t vocabulary) {
  std::mt19937_64 bits(7);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(vocabulary - 1));
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(token(bits));
  return tokens;
}

int32_t Likeliest(const at::Tensor& logits) {
  const float* values = logits.const_data_ptr<float>();
  return static_cast<int32_t>(std::max_element(values, values + logits.numel()) - values);
}

struct Times {
  std::vector<double> wall, cpu;         // Seconds of each token.
  std::vector<double> reads, cpu_reads;  // Bytes a second, in between.
  double prompt = 0;
};

Times Write(const Model& model, const Flags& flags, const ReadRate& memory) {
  const Adapter none;
  Decoder decoder(model, none, flags.prompt + flags.warm_up + flags.tokens);
  Times times;
  absl::Time start = absl::Now();
  at::Tensor logits = decoder.Append(RandomTokens(flags.prompt, model.config.vocabulary_size));
  times.prompt = absl::ToDoubleSeconds(absl::Now() - start);
  for (int64_t i = 0; i < flags.warm_up + flags.tokens; ++i) {
    if (i % kTokensBetweenReads == 0) {
      const ReadRate::Rates rates = memory.Measure();
      times.reads.push_back(rates.per_second);
      times.cpu_reads.push_back(rates.per_cpu_second);
    }
    start = absl::Now();
    const double cpu = ProcessCpuSeconds();
    const int32_t token = Likeliest(logits);
    logits = decoder.Append({&token, 1});
    if (i < flags.warm_up) continue;
    times.wall.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    times.cpu.push_back(ProcessCpuSeconds() - cpu);
  }
  return times;
}

absl::Status Measure(const Flags& flags) {
  TorchTrainerOptions options;
  options.model_directory = flags.model;
  options.threads = flags.threads;
  ASSIGN_OR_RETURN(const TorchModel opened, OpenTorchModel(options));
  const Times times = Write(opened.model, flags, ReadRate(opened.threads));
  const nlohmann::ordered_json json = {{"wall_s", times.wall},
                                       {"cpu_s", times.cpu},
                                       {"prompt_s", times.prompt},
                                       {"reads_per_s", times.reads},
                                       {"reads_per_cpu_s", times.cpu_reads},
                                       {"active_bytes", ActiveBytes(opened.model)}};
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  fedtune::SpinBriefly(argv);  // As fedtune-client does.
  fedtune::bench::Flags flags;
  fedtune::CommandLine line(
      {"fedtune-bench-decode",
       "Measures text that is written token by token, for bench/run.sh decode.",
       {"fedtune-bench-decode measure --model DIR"}});
  CLI::App& command = line.Add({"measure",
                                "Goes on with a random prompt and prints what it took as JSON.",
                                {"fedtune-bench-decode measure --model DIR --threads 2"}},
                               [&flags] { return fedtune::bench::Measure(flags); });
  command.add_option("--model", flags.model, "A checkpoint's folder")->required();
  command.add_option("--threads", flags.threads, "0: all cores")->check(CLI::NonNegativeNumber);
  command.add_option("--prompt", flags.prompt, "Its tokens")->check(CLI::PositiveNumber);
  command.add_option("--warm-up", flags.warm_up, "Tokens before those that are measured")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--tokens", flags.tokens, "Tokens that are measured")
      ->check(CLI::PositiveNumber);
  return line.Run(argc, argv);
}
