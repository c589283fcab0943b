// SPDX-License-Identifier: Apache-2.0

#include "client/commands/generate.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/number_checks.h"
#include "base/printable_text.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/waiting_note.h"
#include "client/commands/records.h"
#include "fmt/format.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/peft_adapter.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {
namespace {

// What is needed to get from text to text.
struct Writer {
  Tokenizer tokenizer;
  SpecialTokens special;
  std::vector<int32_t> end_tokens;
  int64_t context_length = 0;
  std::unique_ptr<Generator> generator;
};

// Those of both configurations and the tokenizer's own.
absl::StatusOr<std::vector<int32_t>> EndTokens(const std::filesystem::path& base,
                                               const ModelConfig& config,
                                               const SpecialTokens& special) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> generation, ReadGenerationEosTokens(base));
  std::vector<int32_t> tokens(config.eos_tokens.begin(), config.eos_tokens.end());
  tokens.insert(tokens.end(), generation.begin(), generation.end());
  if (special.eos) tokens.push_back(*special.eos);
  return tokens;
}

absl::StatusOr<Writer> OpenWriter(const GenerateOptions& options,
                                  const GeneratorFactory& generators) {
  const std::filesystem::path& base = options.model.base;
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(base));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(base / "tokenizer.json"));
  ASSIGN_OR_RETURN(SpecialTokens special, LoadSpecialTokens(base, tokenizer));
  ASSIGN_OR_RETURN(const PeftAdapter adapter, ReadAdapter(options.adapter, base));
  ASSIGN_OR_RETURN(const TorchTrainerOptions torch,
                   OnChosenDevice(options.model, generators.choose_device));
  const WaitingNote note("loading " + base.filename().string());
  ASSIGN_OR_RETURN(std::unique_ptr<Generator> generator,
                   generators.open(torch, adapter.layout, adapter.values));
  ASSIGN_OR_RETURN(std::vector<int32_t> end_tokens, EndTokens(base, config, special));
  return Writer{std::move(tokenizer), special, std::move(end_tokens), config.context_length,
                std::move(generator)};
}

// One text after the other, with progress. A signal ends the program at once: nothing is lost.
class Writing {
 public:
  Writing(const GenerateOptions& options, Writer& writer, const Clock& clock)
      : options_(options), writer_(writer), clock_(clock) {}

  absl::StatusOr<GeneratedText> Write(std::span<const int32_t> prompt, ProgressLine& progress,
                                      double begin, double share) const {
    const int64_t room = writer_.context_length - std::ssize(prompt);
    if (room < 1) {
      return absl::InvalidArgumentError(
          fmt::format("a prompt of {} tokens fills the model's context of {}: shorten it",
                      prompt.size(), writer_.context_length));
    }
    int64_t count = 0;
    return writer_.generator->Generate(
        {.prompt = prompt,
         .max_tokens = std::min(options_.max_tokens, room),
         .end_tokens = writer_.end_tokens,
         .sampling = options_.sampling},
        [&](int32_t) {
          ++count;
          const double done = static_cast<double>(count) / static_cast<double>(options_.max_tokens);
          progress.Update(begin + share * done);
          return true;
        });
  }

  absl::Status GoOn() const {
    ASSIGN_OR_RETURN(std::vector<int32_t> prompt, writer_.tokenizer.Encode(*options_.prompt));
    if (writer_.special.bos && writer_.special.add_bos) {
      prompt.insert(prompt.begin(), *writer_.special.bos);
    }
    const absl::Duration started = clock_.Monotonic();
    absl::StatusOr<GeneratedText> text = absl::UnknownError("");
    {
      ProgressLine progress("generating", clock_);
      text = Write(prompt, progress, 0, 1);
    }
    RETURN_IF_ERROR(text.status());
    Print(*text, clock_.Monotonic() - started);
    return absl::OkStatus();
  }

  absl::Status AnswerAll() const {
    ASSIGN_OR_RETURN(const std::vector<TokenizedRecord> records, ReadRecords());
    int64_t exact = 0;
    ProgressLine progress("answering", clock_);
    for (size_t i = 0; i < records.size(); ++i) {
      const std::span<const int32_t> tokens = records[i].tokens;
      const size_t prompt = PromptSize(records[i]);
      const double share = 1 / static_cast<double>(records.size());
      ASSIGN_OR_RETURN(const GeneratedText text, Write(tokens.first(prompt), progress,
                                                       share * static_cast<double>(i), share));
      const std::string expected = writer_.tokenizer.Decode(tokens.subspan(prompt), true);
      const std::string answer = writer_.tokenizer.Decode(text.tokens, true);
      exact += answer == expected ? 1 : 0;
      Print(answer, expected);
    }
    PrintSum(exact, records.size());
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::vector<TokenizedRecord>> ReadRecords() const {
    TrainingPlan limits;
    limits.sequence_length = writer_.context_length;
    ASSIGN_OR_RETURN(const RecordReader reader, RecordReader::Open(options_.model.base, limits));
    std::vector<TokenizedRecord> records;
    RETURN_IF_ERROR(reader.ReadAndTell(*options_.data, clock_, records));
    return records;
  }

  // All before the last answer.
  static size_t PromptSize(const TokenizedRecord& record) {
    const auto last = std::find(record.is_target.rbegin(), record.is_target.rend(), 1);
    const auto before = std::find(last, record.is_target.rend(), 0);
    return static_cast<size_t>(record.is_target.rend() - before);
  }

  std::string_view EndOf(const GeneratedText& text) const {
    if (text.ended) return "end token";
    return std::ssize(text.tokens) < options_.max_tokens ? "context" : "max tokens";
  }

  void Print(const GeneratedText& text, absl::Duration took) const {
    const std::string written = writer_.tokenizer.Decode(text.tokens, /*skip_special=*/true);
    if (!options_.json) {
      fmt::print("{}\n", PrintableLines(written));
      return;
    }
    fmt::print("{}", JsonLine({{"text", written},
                               {"tokens", text.tokens.size()},
                               {"ended_by", EndOf(text)},
                               {"seconds", absl::ToDoubleSeconds(took)}}));
  }

  void Print(const std::string& answer, const std::string& expected) const {
    if (options_.json) {
      fmt::print(
          "{}",
          JsonLine({{"answer", answer}, {"expected", expected}, {"exact", answer == expected}}));
    } else {
      fmt::print("{}  {}\n", answer == expected ? "=" : "x", PrintableText(answer));
    }
  }

  void PrintSum(int64_t exact, size_t count) const {
    if (options_.json) {
      fmt::print("{}", JsonLine({{"records", count}, {"exact", exact}}));
    } else {
      fmt::print("{} of {} answers are exactly those of the records\n", exact, count);
    }
  }

  const GenerateOptions& options_;
  Writer& writer_;
  const Clock& clock_;
};

}  // namespace

absl::Status GenerateText(const GenerateOptions& options, const GeneratorFactory& generators,
                          const Clock& clock) {
  if (options.prompt.has_value() == options.data.has_value()) {
    return absl::InvalidArgumentError("give either --prompt or --data");
  }
  RETURN_IF_ERROR(CheckSampling(options.sampling));
  ASSIGN_OR_RETURN(Writer writer, OpenWriter(options, generators));
  const Writing writing(options, writer, clock);
  const absl::Status done = options.prompt ? writing.GoOn() : writing.AnswerAll();
  return NamingOverflow(done, options.adapter, options.model.base);
}

void AddGenerateFlags(CLI::App& command, GenerateOptions& options) {
  AddModelFlags(command, options.model);
  command.add_option("--adapter", options.adapter, "Folder of an adapter; none: the base alone");
  command.add_option("--prompt", options.prompt, "Text to go on with, as it stands");
  command.add_option("--data", options.data, "Records in JSON lines, to be answered");
  command
      .add_option("--max-tokens", options.max_tokens,
                  "New tokens at most, as far as the model's context goes")
      ->capture_default_str()
      ->check(WholeNumber(1, INT32_MAX));
  command
      .add_option("--temperature", options.sampling.temperature,
                  "0: always the likeliest token; 1: as likely as the model says")
      ->capture_default_str();
  command.add_option("--top-k", options.sampling.top_k, "Among so many likeliest; 0: all")
      ->capture_default_str()
      ->check(WholeNumber(0, INT32_MAX));
  command
      .add_option("--top-p", options.sampling.top_p,
                  "Among the likeliest that have this share of the probability")
      ->capture_default_str();
  command.add_option("--seed", options.sampling.seed, "Equal seeds give equal texts")
      ->capture_default_str()
      ->check(Seed());
  command.add_flag("--json", options.json, "One JSON object a line");
}

}  // namespace fedtune
