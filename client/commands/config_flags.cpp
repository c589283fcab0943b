// SPDX-License-Identifier: Apache-2.0

#include "client/commands/config_flags.h"

#include "base/status.h"
#include "client/commands/model_flags.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kDefaultFile[] = "client.toml";

}  // namespace

absl::StatusOr<ClientConfig> ConfigSource::Load() const {
  if (file) return LoadClientConfig(*file, flags);
  std::error_code ignored;
  if (std::filesystem::exists(kDefaultFile, ignored)) return LoadClientConfig(kDefaultFile, flags);
  absl::StatusOr<ClientConfig> config = ParseClientConfig("", "", flags);
  if (config.ok()) return config;
  return absl::InvalidArgumentError(
      fmt::format("there is no {} in this folder; name one with --config, or say with flags what "
                  "is missing:\n{}",
                  kDefaultFile, Message(config.status())));
}

void AddConfigFlags(CLI::App& command, ConfigSource& source) {
  ClientFlags& flags = source.flags;
  command.add_option("--config", source.file,
                     "client.toml (the one in this folder); each of its keys is a flag, too");
  command.add_option("--coordinator", flags.coordinator, "The coordinator, host:port");
  command.add_option("--institution", flags.institution, "Our name, as in the certificate");
  command.add_option("--state-dir", flags.state_dir,
                     "Where the client keeps its keys and its rounds' work");
  command.add_option("--certificate", flags.certificate,
                     "Our certificate (keys/certificate.pem in the state directory)");
  command.add_option("--key", flags.key, "Its private key (keys/key.pem)");
  command.add_option("--authority", flags.authority,
                     "The certificate of the federation's authority (keys/authority.pem)");
  command.add_option("--revocation-list", flags.revocation_list,
                     "The certificates that the custodian has revoked: no coordinator of them");
  command.add_option("--signing-key", flags.signing_key,
                     "The key we sign with in secure rounds (keys/signing_key.pem)");
  command.add_option("--federation-key", flags.federation_key,
                     "The file with what institutions share and the coordinator has not (none)");
  command.add_option("--signing-certificate", flags.signing_certificate,
                     "Its certificate (in the file of our certificate)");
  command.add_option("--base-model", flags.base_models,
                     "Folder of a base model; may be given several times");
  command.add_option("--policy", flags.policy, "policy.toml; without one every run is allowed");
  command.add_option("--dataset", flags.datasets,
                     "NAME:TRAIN_FILE or NAME:TRAIN_FILE:EVAL_FILE; may be given several times");
  command.add_option("--device", flags.device, "auto, cpu or cuda:0");
  command.add_option("--threads", flags.threads,
                     "Threads on the CPU, up to one for each core; 0: all cores");
  command.add_option("--checkpoint-seconds", flags.checkpoint_seconds,
                     "Seconds of training that are done again after a crash (60), or one step if "
                     "that is longer; 0: all of the round's");
  command.add_option("--recompute", flags.recompute, kRecomputeHelp);
  command.add_option("--memory-gb", flags.memory_gb, kMemoryHelp);
  command.add_option("--log-format", flags.log_format, "text or json");
}

}  // namespace fedtune
