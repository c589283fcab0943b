// SPDX-License-Identifier: Apache-2.0

#include <sys/prctl.h>

#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/fail_point.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "client/commands/check.h"
#include "client/commands/config_flags.h"
#include "client/commands/evaluate.h"
#include "client/commands/generate.h"
#include "client/commands/log.h"
#include "client/commands/serve.h"
#include "client/commands/train.h"
#include "client/training/brief_spinning.h"
#include "client/training/device.h"
#include "client/training/tensor_memory.h"
#include "client/training/torch_trainer.h"
#include "fmt/format.h"
#include "plan/base_model_digest.h"
#include "privacy/identity/request_command.h"

namespace fedtune {
namespace {

const TrainerFactory kTrainers = {ChooseDevice, OpenTorchTrainer};
const GeneratorFactory kGenerators = {ChooseDevice, OpenTorchGenerator};

absl::Status PrintBaseDigest(const std::filesystem::path& directory, const Clock& clock) {
  ProgressLine progress("reading " + directory.string(), clock);
  ASSIGN_OR_RETURN(const BaseModelDigests digests,
                   DigestBaseModel(directory, [&](double share) { progress.Update(share); }));
  fmt::print("{}\n", digests.digest);
  return absl::OkStatus();
}

void AddServe(CommandLine& line, ConfigSource& source, const Clock& clock) {
  AddConfigFlags(
      line.Add({"serve",
                "Takes part in the federation's runs until SIGTERM or SIGINT; a second one "
                "ends it at once.",
                {"fedtune-client serve --config /etc/fedtune/client.toml",
                 "fedtune-client serve --config client.toml --device cuda:1",
                 "fedtune-client serve --coordinator fl.example.org:7443 --institution "
                 "st-anna --state-dir state --base-model /models/lite --dataset "
                 "letters:train.jsonl:eval.jsonl"}},
               [&] { return Serve(source, kTrainers, clock); }),
      source);
}

void AddRequest(CommandLine& line, RequestFlags& flags) {
  flags.identity.role = Role::kClient;
  AddRequestCommand(
      line,
      {"request",
       "Makes a key, which stays here, and a request for the client's certificate.",
       {"fedtune-client request --federation north --name st-anna --dir /var/lib/fedtune/keys"}},
      "The institution's name: a-z, 0-9 and -", flags);
}

void AddCheck(CommandLine& line, CheckOptions& options, const Clock& clock) {
  CLI::App& command = line.Add({"check",
                                "Looks whether this client has all it needs, and says what to do.",
                                {"fedtune-client check --config /etc/fedtune/client.toml",
                                 "fedtune-client check --json | jq .checks"}},
                               [&] { return CheckClient(options, kTrainers, clock); });
  AddConfigFlags(command, options.source);
  command.add_flag("--json", options.json, "One JSON object");
}

void AddTrain(CommandLine& line, TrainOptions& options, const Clock& clock) {
  AddTrainFlags(
      line.Add({"train",
                "Trains an adapter on one's own records, without a federation.",
                {"fedtune-client train --base ./icd-moe --data train.jsonl --out ./adapter",
                 "fedtune-client train --base ./icd-moe --data train.jsonl --eval eval.jsonl "
                 "--rank 16 --steps 960 --batch-size 16 --learning-rate 2e-3 --out ./adapter",
                 "fedtune-client train --base ./icd-moe --data train.jsonl --plan plan.toml "
                 "--out ./adapter --json"}},
               [&] { return OfNamedFile(TrainOnFile(options, kTrainers, clock)); }),
      options);
}

void AddEvaluate(CommandLine& line, EvaluateOptions& options, const Clock& clock) {
  AddEvaluateFlags(
      line.Add(
          {"evaluate",
           "Measures a base model, with or without an adapter, on a file of records.",
           {"fedtune-client evaluate --base ./icd-moe --data heldout.jsonl",
            "fedtune-client evaluate --base ./icd-moe --adapter ./adapter --data heldout.jsonl "
            "--json"}},
          [&] { return OfNamedFile(EvaluateFile(options, kTrainers, clock)); }),
      options);
}

void AddGenerate(CommandLine& line, GenerateOptions& options, const Clock& clock) {
  AddGenerateFlags(
      line.Add({"generate",
                "Goes on with a text, or answers a file of records.",
                {"fedtune-client generate --base ./icd-moe --prompt \"Sudden loss of sight:\"",
                 "fedtune-client generate --base ./icd-moe --adapter ./adapter "
                 "--data heldout.jsonl --max-tokens 16 --json",
                 "fedtune-client generate --base ./icd-moe --prompt \"A fever\" "
                 "--temperature 0.8 --top-p 0.95 --seed 7"}},
               [&] { return OfNamedFile(GenerateText(options, kGenerators, clock)); }),
      options);
}

void AddBase(CommandLine& line, std::filesystem::path& directory, const Clock& clock) {
  CLI::App& base = line.AddGroup(
      {"base", "Base models on this machine.", {"fedtune-client base digest /models/lite"}});
  line.AddTo(base,
             {"digest",
              "Prints a base model's digest, by which plans and policies name it.",
              {"fedtune-client base digest /models/lite"}},
             [&] { return OfNamedFile(PrintBaseDigest(directory, clock)); })
      .add_option("folder", directory, "Folder of the base model")
      ->required();
}

void AddLog(CommandLine& line, LogOptions& show, LogOptions& accept, const Clock& clock) {
  CLI::App& group = line.AddGroup({"log",
                                   "What this client has seen of the coordinator's audit log.",
                                   {"fedtune-client log show --config /etc/fedtune/client.toml",
                                    "fedtune-client log accept --config client.toml"}});
  CLI::App& show_command = line.AddTo(
      group,
      {"show",
       "Says where the log stood when it was last seen, and whether another was refused.",
       {"fedtune-client log show --config /etc/fedtune/client.toml",
        "fedtune-client log show --json | jq .seen.entries"}},
      [&] { return ShowLog(show); });
  AddConfigFlags(show_command, show.source);
  show_command.add_flag("--json", show.json, "One JSON object");
  CLI::App& accept_command =
      line.AddTo(group,
                 {"accept",
                  "Takes the log that was refused, as after a restore of the coordinator from a "
                  "backup; a running client goes on by itself.",
                  {"fedtune-client log accept --config /etc/fedtune/client.toml",
                   "fedtune-client log accept --root "
                   "sha256:dcb78e8d591624959002a6bb018f64274c8407cbd82030046bf58499e3ffe38f"}},
                 [&] { return AcceptLog(accept, clock); });
  AddConfigFlags(accept_command, accept.source);
  accept_command.add_flag("--json", accept.json, "One JSON object");
  CLI::Option* root = accept_command.add_option(
      "--root", accept.root, "Only if this is the root of what was refused (sha256:...)");
  accept_command
      .add_option("--checkpoint", accept.checkpoint,
                  "A copy of log_checkpoint.refused.json: exactly that is accepted")
      ->excludes(root);
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  using namespace fedtune;  // NOLINT(google-build-using-namespace)
  SpinBriefly(argv);
  KeepTensorsTogether();
  ArmFailPoints();
  ::prctl(PR_SET_DUMPABLE, 0);  // No core file may hold a record or the key.
  const SystemClock clock;
  CommandLine line(
      {"fedtune-client",
       "Trains with a federation on records that never leave this institution.",
       {"fedtune-client request --federation north --name st-anna --dir state/keys",
        "fedtune-client check --config client.toml", "fedtune-client serve --config client.toml"}});
  ConfigSource serve;
  RequestFlags request;
  CheckOptions check;
  TrainOptions train;
  EvaluateOptions evaluate;
  GenerateOptions generate;
  std::filesystem::path base;
  LogOptions show_log;
  LogOptions accept_log;
  AddServe(line, serve, clock);
  AddRequest(line, request);
  AddCheck(line, check, clock);
  AddTrain(line, train, clock);
  AddEvaluate(line, evaluate, clock);
  AddGenerate(line, generate, clock);
  AddBase(line, base, clock);
  AddLog(line, show_log, accept_log, clock);
  return line.Run(argc, argv);
}
