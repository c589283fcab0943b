// SPDX-License-Identifier: Apache-2.0

#include "client/commands/model_flags.h"

#include "base/status.h"
#include "base/status_macros.h"
#include "base/waiting_note.h"
#include "client/commands/device.h"
#include "fmt/format.h"

namespace fedtune {

void AddModelFlags(CLI::App& command, ModelFlags& flags) {
  command.add_option("--base", flags.base, "Folder of the base model")->required();
  command.add_option("--device", flags.device, "cpu, cuda:0, or auto: the GPU if there is one")
      ->capture_default_str();
  command
      .add_option("--threads", flags.threads,
                  "Threads on the CPU, up to one for each core; 0: all cores")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
}

absl::StatusOr<TorchTrainerOptions> OnChosenDevice(
    const ModelFlags& flags,
    const std::function<absl::StatusOr<ComputeDevice>(std::string_view name)>& choose_device) {
  ASSIGN_OR_RETURN(const ComputeDevice device, choose_device(flags.device));
  fmt::print(stderr, "{}device: {}\n", device.is_fallback() ? "warning: " : "", Describe(device));
  const ThreadCount threads = ThreadsFor(flags.threads);
  if (!threads.remark.empty()) fmt::print(stderr, "warning: {}\n", threads.remark);
  return TorchTrainerOptions{
      .model_directory = flags.base, .device = device, .threads = threads.count};
}

absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const TorchTrainerOptions& options,
                                                     const TrainerFactory& trainers) {
  const WaitingNote note("loading " + options.model_directory.filename().string());
  return trainers.open(options);
}

absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const ModelFlags& flags,
                                                     const TrainerFactory& trainers) {
  ASSIGN_OR_RETURN(const TorchTrainerOptions options,
                   OnChosenDevice(flags, trainers.choose_device));
  return OpenTrainer(options, trainers);
}

absl::StatusOr<PeftAdapter> ReadAdapter(const std::optional<std::filesystem::path>& folder,
                                        const std::filesystem::path& base) {
  if (!folder) return PeftAdapter();
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(base));
  return ReadPeftAdapter(*folder, checkpoint);
}

absl::Status NamingOverflow(const absl::Status& done,
                            const std::optional<std::filesystem::path>& adapter,
                            const std::filesystem::path& base) {
  return absl::IsOutOfRange(done) ? Annotate(done, adapter.value_or(base).string()) : done;
}

}  // namespace fedtune
