// SPDX-License-Identifier: Apache-2.0

#include "bench/train/random_records.h"

#include <algorithm>
#include <random>

#include "base/status_macros.h"
#include "client/data/record_tokenizer.h"
#include "client/data/tokenized_dataset.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace fedtune::bench {

absl::StatusOr<std::vector<RecordLength>> LengthsOf(const std::filesystem::path& data,
                                                    const std::filesystem::path& model,
                                                    int64_t context_length) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(model / "tokenizer.json"));
  ASSIGN_OR_RETURN(const SpecialTokens special, LoadSpecialTokens(model, tokenizer));
  const RecordTokenizer reader(tokenizer, special, {.context_length = context_length});
  ASSIGN_OR_RETURN(const TokenizedDataset dataset, LoadTokenizedDataset(data, reader));
  std::vector<RecordLength> lengths;
  for (const TokenizedRecord& record : dataset.records) {
    const auto first = std::find(record.is_target.begin(), record.is_target.end(), 1);
    lengths.push_back(
        {static_cast<int64_t>(record.tokens.size()), first - record.is_target.begin()});
  }
  return lengths;
}

absl::StatusOr<std::vector<RecordLength>> ParseLengths(std::string_view json) {
  const auto wrong = absl::InvalidArgumentError("lengths are [[tokens, prompt], ...]");
  const auto pairs = nlohmann::json::parse(json, nullptr, false);
  if (!pairs.is_array()) return wrong;
  std::vector<RecordLength> lengths;
  for (const auto& pair : pairs) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() ||
        !pair[1].is_number_integer()) {
      return wrong;
    }
    const RecordLength length = {pair[0].get<int64_t>(), pair[1].get<int64_t>()};
    if (length.prompt < 1 || length.prompt >= length.tokens) return wrong;
    lengths.push_back(length);
  }
  return lengths;
}

std::vector<TokenizedRecord> RandomRecords(std::span<const RecordLength> lengths,
                                           int64_t vocabulary) {
  std::mt19937_64 bits(7);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(vocabulary - 1));
  std::vector<TokenizedRecord> records;
  for (const RecordLength& length : lengths) {
    TokenizedRecord record;
    for (int64_t i = 0; i < length.tokens; ++i) {
      record.tokens.push_back(token(bits));
      record.is_target.push_back(i >= length.prompt ? 1 : 0);
    }
    records.push_back(std::move(record));
  }
  return records;
}

std::vector<RecordLength> Padded(std::vector<RecordLength> lengths, int64_t batch_size) {
  const auto size = static_cast<size_t>(batch_size);
  for (size_t begin = 0; begin < lengths.size(); begin += size) {
    const std::span<RecordLength> batch =
        std::span(lengths).subspan(begin, std::min(size, lengths.size() - begin));
    const int64_t longest = std::ranges::max(batch, {}, &RecordLength::tokens).tokens;
    for (RecordLength& length : batch) {
      length.prompt += longest - length.tokens;
      length.tokens = longest;
    }
  }
  return lengths;
}

}  // namespace fedtune::bench
