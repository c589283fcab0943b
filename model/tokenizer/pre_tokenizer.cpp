// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/family_splitter.h"
#include "model/tokenizer/json_fields.h"

namespace fedtune {
namespace {

// What ByteLevel means by use_regex: the expression of GPT-2.
constexpr std::string_view kByteLevelExpression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::StatusOr<SplitBehaviour> ParseBehaviour(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const std::string name, fields.String("behavior"));
  if (name == "Removed") return SplitBehaviour::kRemoved;
  if (name == "Isolated") return SplitBehaviour::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehaviour::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehaviour::kMergedWithNext;
  if (name == "Contiguous") return SplitBehaviour::kContiguous;
  return absl::InvalidArgumentError(
      fmt::format("{}: behavior \"{}\" is not one of Removed, Isolated, MergedWithPrevious, "
                  "MergedWithNext, Contiguous",
                  fields.where(), name));
}

absl::StatusOr<Splitter::Pattern> ParsePattern(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const nlohmann::json* section, fields.Object("pattern"));
  ASSIGN_OR_RETURN(const JsonFields pattern, JsonFields::Of(*section, fields.where() + ".pattern"));
  if (!pattern.Any("Regex").is_null()) {
    ASSIGN_OR_RETURN(const std::string expression, pattern.String("Regex"));
    absl::StatusOr<Regex> regex = Regex::Compile(expression);
    if (!regex.ok()) return Annotate(regex.status(), pattern.where());
    return *std::move(regex);
  }
  ASSIGN_OR_RETURN(std::string text, pattern.String("String"));
  if (!text.empty()) return text;
  return absl::InvalidArgumentError(fmt::format("{}: \"String\" is empty", pattern.where()));
}

absl::StatusOr<Splitter> ParseSplit(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const SplitBehaviour behaviour, ParseBehaviour(fields));
  ASSIGN_OR_RETURN(const bool invert, fields.Bool("invert", false));
  ASSIGN_OR_RETURN(Splitter::Pattern pattern, ParsePattern(fields));
  return Splitter(std::move(pattern), {.behaviour = behaviour, .invert = invert});
}

// The expression of a step that ParseSplit() takes, if the step only isolates
// what it matches; else nothing.
std::string IsolatedExpression(const JsonFields& fields) {
  const nlohmann::json expression = fields.Any("pattern").value("Regex", nlohmann::json());
  const bool isolates = fields.Any("behavior") == "Isolated" && fields.Any("invert") != true;
  return isolates && expression.is_string() ? expression.get<std::string>() : std::string();
}

Regex CompileOwn(std::string_view expression) {
  absl::StatusOr<Regex> regex = Regex::Compile(expression);
  Check(regex.ok(), "an expression of our own does not compile");
  return *std::move(regex);
}

absl::StatusOr<Splitter> ParseDigits(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const bool individual, fields.Bool("individual_digits", false));
  const auto behaviour = individual ? SplitBehaviour::kIsolated : SplitBehaviour::kContiguous;
  return Splitter(CompileOwn(R"(\p{N})"), {.behaviour = behaviour});
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const nlohmann::json& section,
                                                    std::string where) {
  PreTokenizer result;
  RETURN_IF_ERROR(result.AddStep(section, where));
  result.RecogniseFamily();
  if (result.has_byte_level_) return result;
  return absl::InvalidArgumentError(
      fmt::format("{}: has no step ByteLevel; only byte-level tokenizers are supported", where));
}

absl::Status PreTokenizer::AddStep(const nlohmann::json& step, std::string where) {
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(step, std::move(where)));
  ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
  if (type == "Sequence") return AddSequence(step, fields.where());
  if (has_byte_level_) {
    return absl::InvalidArgumentError(
        fmt::format("{}: step \"{}\" after ByteLevel is not supported", fields.where(), type));
  }
  if (type == "Split") {
    RETURN_IF_ERROR(AddSplit(fields));
  } else if (type == "Digits") {
    ASSIGN_OR_RETURN(Splitter splitter, ParseDigits(fields));
    splitters_.push_back(std::move(splitter));
    expressions_.emplace_back();
  } else if (type == "ByteLevel") {
    has_byte_level_ = true;
    ASSIGN_OR_RETURN(add_prefix_space_, fields.Bool("add_prefix_space"));
    ASSIGN_OR_RETURN(const bool use_regex, fields.Bool("use_regex", true));
    if (use_regex)
      byte_level_splitters_.emplace_back(CompileOwn(kByteLevelExpression), Splitter::Options{});
  } else {
    return absl::InvalidArgumentError(
        fmt::format("{}: step \"{}\" is not supported; Sequence, Split, Digits and ByteLevel are",
                    fields.where(), type));
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddSequence(const nlohmann::json& steps, const std::string& where) {
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(steps, where));
  ASSIGN_OR_RETURN(const nlohmann::json* list, fields.Array("pretokenizers"));
  for (size_t i = 0; i < list->size(); ++i) {
    RETURN_IF_ERROR(AddStep((*list)[i], fmt::format("{}.pretokenizers[{}]", where, i)));
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddSplit(const JsonFields& fields) {
  ASSIGN_OR_RETURN(Splitter splitter, ParseSplit(fields));
  splitters_.push_back(std::move(splitter));
  expressions_.push_back(IsolatedExpression(fields));
  return absl::OkStatus();
}

void PreTokenizer::RecogniseFamily() {
  is_family_ = std::equal(expressions_.begin(), expressions_.end(), std::begin(kFamilyExpressions),
                          std::end(kFamilyExpressions));
}

void PreTokenizer::PutSpaceBeforeEach(Words& words) const {
  for (std::string_view& word : words.words) {
    if (word.starts_with(' ')) continue;
    words.owned.push_back(fmt::format(" {}", word));
    word = words.owned.back();
  }
}

absl::Status PreTokenizer::Split(std::string_view text, Words& words) const {
  words.owned.clear();
  words.words.clear();
  if (text.empty()) return absl::OkStatus();
  if (is_family_) {
    SplitAsFamily(text, words.words);
  } else {
    words.words.push_back(text);
    for (const Splitter& splitter : splitters_) RETURN_IF_ERROR(splitter.Apply(words.words));
  }
  if (add_prefix_space_) PutSpaceBeforeEach(words);
  for (const Splitter& splitter : byte_level_splitters_) {
    RETURN_IF_ERROR(splitter.Apply(words.words));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
