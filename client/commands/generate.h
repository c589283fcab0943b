// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "base/clock.h"
#include "client/commands/model_flags.h"
#include "client/commands/trainer_factory.h"
#include "client/training/generator.h"
#include "client/training/torch_generator.h"

namespace fedtune {

struct GenerateOptions {
  ModelFlags model;
  std::optional<std::filesystem::path> adapter;  // A PEFT folder; none: the base model alone.
  std::optional<std::string> prompt;             // Text, as it stands. This or `data`.
  std::optional<std::filesystem::path> data;     // Records in JSON lines.
  int64_t max_tokens = 128;                      // Of each text; less where the context ends.
  Sampling sampling;
  bool json = false;
};

// How the command gets a device and a generator: with ChooseDevice() and
// OpenTorchGenerator(), or others in tests.
struct GeneratorFactory {
  std::function<absl::StatusOr<ComputeDevice>(std::string_view name)> choose_device;
  std::function<absl::StatusOr<std::unique_ptr<Generator>>(const TorchTrainerOptions& options,
                                                           const AdapterLayout& layout,
                                                           std::span<const float> adapter)>
      open;
};

// Adds the command's flags; parsing them fills `options`, which must live as long.
void AddGenerateFlags(CLI::App& command, GenerateOptions& options);

// Prints how the model goes on with a prompt, or what it answers to each record of a file
// and how many of the answers are exactly the records'. Of a record with several answers
// the last is asked for. Blocks; progress, the device and which records are left out go to
// stderr. A signal ends the program at once; there is nothing to put away.
//
// After an error the answers that came before it are on stdout, and nothing else.
// INVALID_ARGUMENT: neither or both of prompt and data, a number of `sampling` out of its
// range, or a prompt that fills the model's context. Otherwise as ReadModelConfig(),
// Tokenizer::Load(), LoadSpecialTokens(), ReadGenerationEosTokens(), ReadAdapter(),
// RecordReader, `generators` and Generator.
absl::Status GenerateText(const GenerateOptions& options, const GeneratorFactory& generators,
                          const Clock& clock);

}  // namespace fedtune
