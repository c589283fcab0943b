// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/command_line.h"
#include "base/status_macros.h"
#include "bench/transport/echo_federation.h"
#include "bench/transport/limits.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "rpc/channel.h"

namespace fedtune::bench {
namespace {

constexpr double kMega = 1e6;
constexpr double kGiga = 1e9;
constexpr int kFloorRuns = 5;
constexpr int kTurns = 2;

// The goals. Small rounds are about what a round costs at all; large ones are
// compared with what the machine can do.
constexpr double kSmallRoundSeconds = 0.025;  // For 10 clients of 1 MB.
constexpr double kTimesFloor = 3.5;
constexpr double kTimesUpdate = 2.3;               // Peak memory: so many updates and
constexpr double kStreamMegabytes = 4 * 1.048576;  // so much for each client.
constexpr int64_t kFewTensors = 2;                 // There are none fewer: A and B of one layer.
constexpr double kTimesFewTensors = 1.1;           // The same bytes in many tensors.
constexpr double kTimesPlain = 2.5;                // A secure round over a plain one.

struct Flags {
  std::filesystem::path coordinator;
  bool quick = false;
  bool secure = false;
  Load load = {.clients = 0};  // No clients: the usual cases.
};

void Print(std::string_view name, std::string_view metric, double value, std::string_view unit,
           std::optional<double> goal = std::nullopt) {
  nlohmann::ordered_json line = {
      {"bench", "transport"}, {"case", name}, {"metric", metric}, {"value", value}, {"unit", unit}};
  if (goal.has_value()) {
    line["goal"] = *goal;
    line["ok"] = value <= *goal;
  }
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

absl::Duration Median(std::vector<absl::Duration> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::vector<Load> CasesOf(const Flags& flags) {
  if (flags.load.clients > 0) return {flags.load};
  if (flags.secure && !flags.quick) {
    return {{.clients = 10, .megabytes = 1, .tensors = 10, .rounds = 21},
            {.clients = 10, .megabytes = 100, .tensors = 100, .rounds = 4}};
  }
  if (flags.quick) {
    return {{.clients = 4, .megabytes = 1, .tensors = 10, .rounds = 11},
            {.clients = 4, .megabytes = 20, .tensors = 100, .rounds = 6}};
  }
  return {{.clients = 10, .megabytes = 1, .tensors = 10, .rounds = 41},
          {.clients = 10, .megabytes = 100, .tensors = 100, .rounds = 6},
          {.clients = 2, .megabytes = 100, .tensors = kFewTensors, .rounds = 11},
          {.clients = 2, .megabytes = 100, .tensors = 1000, .rounds = 11},
          {.clients = 2, .megabytes = 100, .tensors = 10'362, .rounds = 11},
          {.clients = 10, .idle = 90, .megabytes = 1, .tensors = 10, .rounds = 41},
          {.clients = 100, .megabytes = 1, .tensors = 10, .rounds = 11},
          {.clients = 100, .megabytes = 20, .tensors = 100, .rounds = 6}};
}

// The time that a round's bytes take without the product.
struct Floors {
  absl::Duration sockets;  // Both ways over bare sockets,
  absl::Duration tls;      // over TLS,
  absl::Duration hashing;  // and what is hashed of them.

  absl::Duration least() const { return tls + hashing; }
};

Floors FloorsOf(int clients, size_t bytes) {
  std::vector<absl::Duration> sockets, tls, hashing;
  for (int i = 0; i < kFloorRuns; ++i) {
    sockets.push_back(EchoTime(clients, bytes));
    tls.push_back(TlsEchoTime(clients, bytes));
    hashing.push_back(HashTime(clients, bytes));
  }
  return {Median(sockets), Median(tls), Median(hashing)};
}

// What a load took in the fewest tensors.
struct FewTensors {
  Load load = {.clients = 0};
  absl::Duration round = {};

  bool FitsTo(const Load& other) const {
    return load.clients == other.clients && load.megabytes == other.megabytes;
  }
};

// What a round takes of processors and memory.
absl::Status PrintUse(const std::string& name, const Load& load, const EchoRounds& echo) {
  const double update = static_cast<double>(echo.adapter_bytes) / kMega;
  Print(name, "cpu_s", absl::ToDoubleSeconds(echo.cpu_per_round), "s");
  Print(name, "clients_cpu_s", absl::ToDoubleSeconds(echo.clients_cpu_per_round), "s");
  Print(name, "coordinator_peak_mb", static_cast<double>(echo.peak_memory) / kMega, "MB",
        kTimesUpdate * update + kStreamMegabytes * load.clients);
  return absl::OkStatus();
}

absl::Status Measure(const Flags& flags, const Load& load, FewTensors& few) {
  const std::string idle = load.idle > 0 ? fmt::format(" of {}", load.clients + load.idle) : "";
  const bool is_long = load.delay > absl::ZeroDuration();
  const std::string line =
      is_long ? fmt::format(", {} each way", absl::FormatDuration(load.delay)) : "";
  const std::string name = fmt::format("{}{} x {} MB, {} tensors{}", load.clients, idle,
                                       load.megabytes, load.tensors, line);
  ASSIGN_OR_RETURN(const EchoRounds echo, RunEchoFederation(flags.coordinator, load));
  const Floors floors = FloorsOf(load.clients, static_cast<size_t>(echo.adapter_bytes));
  const absl::Duration round = Median(echo.rounds);
  const bool small = load.megabytes < 10;
  Print(name, "round_s", absl::ToDoubleSeconds(round), "s",
        small && load.clients == 10 && load.idle == 0 && !is_long
            ? std::optional(kSmallRoundSeconds)
            : std::nullopt);
  if (is_long) return PrintUse(name, load, echo);
  Print(name, "over_floor", absl::FDivDuration(round, floors.sockets), "times",
        small ? std::nullopt : std::optional(kTimesFloor));
  Print(name, "over_least", absl::FDivDuration(round, floors.least()), "times");
  Print(name, "floor_s", absl::ToDoubleSeconds(floors.sockets), "s");
  Print(name, "tls_floor_s", absl::ToDoubleSeconds(floors.tls), "s");
  Print(name, "least_s", absl::ToDoubleSeconds(floors.least()), "s");
  Print(name, "least_over_floor", absl::FDivDuration(floors.least(), floors.sockets), "times");
  if (load.tensors == kFewTensors) few = {.load = load, .round = round};
  if (load.tensors > kFewTensors && few.FitsTo(load)) {
    Print(name, "over_few_tensors", absl::FDivDuration(round, few.round), "times",
          kTimesFewTensors);
  }
  return PrintUse(name, load, echo);
}

// Adds what another federation of the same load measured.
void Add(const EchoRounds& more, EchoRounds& all) {
  all.rounds.insert(all.rounds.end(), more.rounds.begin(), more.rounds.end());
  all.cpu_per_round += more.cpu_per_round / kTurns;
  all.peak_memory = std::max(all.peak_memory, more.peak_memory);
}

// Plain and secure federations in turn, for the machine is not ours alone.
absl::Status MeasureSecure(const Flags& flags, Load load) {
  EchoRounds plain;
  EchoRounds secure;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (EchoRounds* rounds : {&plain, &secure}) {
      load.secure = rounds == &secure;
      ASSIGN_OR_RETURN(const EchoRounds measured, RunEchoFederation(flags.coordinator, load));
      Add(measured, *rounds);
    }
  }
  const std::string name = fmt::format("{} x {} MB, secure", load.clients, load.megabytes);
  const absl::Duration plain_round = Median(plain.rounds);
  const absl::Duration round = Median(secure.rounds);
  Print(name, "round_s", absl::ToDoubleSeconds(round), "s");
  Print(name, "plain_round_s", absl::ToDoubleSeconds(plain_round), "s");
  Print(name, "round_over_plain", absl::FDivDuration(round, plain_round), "times", kTimesPlain);
  Print(name, "cpu_s", absl::ToDoubleSeconds(secure.cpu_per_round), "s");
  Print(name, "plain_cpu_s", absl::ToDoubleSeconds(plain.cpu_per_round), "s");
  Print(name, "coordinator_peak_mb", static_cast<double>(secure.peak_memory) / kMega, "MB");
  Print(name, "plain_peak_mb", static_cast<double>(plain.peak_memory) / kMega, "MB");
  return absl::OkStatus();
}

void MeasureMachine() {
  Print("this machine", "loopback_tcp", LoopbackRate() / kGiga, "GB/s");
  const double read = MemoryReadRate();
  Print("this machine", "memory_read", read / kGiga, "GB/s");
  Print("10 updates, one core", "aggregation_over_read", AggregationRate() / read, "times");
  Print("this machine", "memory_copy", MemoryCopyRate() / kGiga, "GB/s");
  Print("this machine", "aes_256_gcm", AesGcmRate() / kGiga, "GB/s");
  Print("this machine", "sha_256", Sha256Rate() / kGiga, "GB/s");
  Print("this machine", "synced_write", SyncedWriteRate() / kGiga, "GB/s");
  Print("this machine", "fdatasync_ms", absl::ToDoubleMilliseconds(SyncTime()), "ms");
}

absl::Status Run(const Flags& flags) {
  SetUpRpcLibrary();
  MeasureMachine();
  FewTensors few;
  for (const Load& load : CasesOf(flags)) {
    RETURN_IF_ERROR(flags.secure ? MeasureSecure(flags, load) : Measure(flags, load, few));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune::bench

int main(int argc, char** argv) {
  fedtune::bench::Flags flags;
  fedtune::CommandLine line(
      {"fedtune-bench-transport",
       "Times rounds without training: an adapter to every client and an update back.",
       {"bench/run.sh transport", "bench/run.sh transport --quick --json",
        "bench/run.sh transport -- --secure",
        "bench/run.sh transport -- --clients 4 --megabytes 10 --tensors 8",
        "bench/run.sh transport -- --clients 2 --megabytes 100 --delay 50"}});
  line.SetAction([&] { return fedtune::bench::Run(flags); });
  CLI::App& root = line.root();
  root.add_option("--coordinator", flags.coordinator, "The program fedtune-coordinator")
      ->required();
  root.add_flag("--quick", flags.quick, "Smaller cases");
  root.add_flag("--secure", flags.secure, "Secure rounds beside plain ones (4 clients or more)");
  root.add_option("--clients", flags.load.clients, "One case of its own, with so many clients")
      ->check(CLI::Range(1, 1000));
  root.add_option("--idle", flags.load.idle, "More that are connected, and not asked (0)")
      ->check(CLI::Range(0, 1000));
  root.add_option("--megabytes", flags.load.megabytes, "Its update, in MB of fp32 (100)")
      ->check(CLI::Range(1, 10'000));
  root.add_option("--tensors", flags.load.tensors, "Its tensors (100)")
      ->check(CLI::Range(2, 20'000));
  root.add_option_function<int>(
          "--delay", [&flags](int ms) { flags.load.delay = absl::Milliseconds(ms); },
          "Milliseconds that its bytes take each way longer, as over a long line (0)")
      ->check(CLI::Range(0, 1000));
  root.add_option("--rounds", flags.load.rounds, "Its rounds (6)")->check(CLI::Range(6, 1000));
  return line.Run(argc, argv);
}
