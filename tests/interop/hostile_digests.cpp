// SPDX-License-Identifier: Apache-2.0

#include "tests/interop/hostile_digests.h"

#include <charconv>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/tokenizer/tokenizer.h"
#include "privacy/crypto/sha256.h"
#include "tests/interop/hostile_corpus.h"

namespace fedtune {
namespace {

// The texts of the added tokens, by their ids.
absl::StatusOr<std::vector<std::string>> AddedTokenTexts(std::string_view tokenizer_json,
                                                         std::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json file, ParseJson(tokenizer_json, source));
  std::map<int64_t, std::string> by_id;
  for (const nlohmann::json& token : file.value("added_tokens", nlohmann::json::array())) {
    by_id[token.at("id").get<int64_t>()] = token.at("content").get<std::string>();
  }
  std::vector<std::string> texts;
  for (const auto& [id, text] : by_id) texts.push_back(text);
  return texts;
}

void Hash(Sha256& hash, int32_t value) { hash.Update(std::as_bytes(std::span(&value, 1))); }

void Hash(Sha256& hash, const std::string& text) {
  Hash(hash, static_cast<int32_t>(text.size()));
  hash.Update(text);
}

absl::StatusOr<nlohmann::json> DigestOf(const Tokenizer& tokenizer, const TextGroup& group) {
  Sha256 hash;
  size_t tokens = 0;
  for (const std::string& text : group.texts) {
    const absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(text);
    if (!ids.ok()) return Annotate(ids.status(), group.name);
    tokens += ids->size();
    Hash(hash, static_cast<int32_t>(ids->size()));
    hash.Update(std::as_bytes(std::span(*ids)));
    Hash(hash, tokenizer.Decode(*ids, /*skip_special=*/false));
    Hash(hash, tokenizer.Decode(*ids, /*skip_special=*/true));
  }
  return nlohmann::json{{"texts", group.texts.size()},
                        {"tokens", tokens},
                        {"sha256", std::move(hash).Finish().ToHex()}};
}

// Where the message says that the text is broken; -1 if it is taken.
absl::StatusOr<int32_t> RefusedAt(const Tokenizer& tokenizer, const std::string& text) {
  const absl::Status status = tokenizer.Encode(text).status();
  if (status.ok()) return -1;
  constexpr std::string_view kBefore = "text is not UTF-8 (at byte ";
  std::string_view message = Message(status);
  int32_t at = -1;
  if (message.starts_with(kBefore)) {
    message.remove_prefix(kBefore.size());
    std::from_chars(message.data(), message.data() + message.size(), at);
  }
  if (at >= 0) return at;
  return Annotate(status, "does not say at which byte text is not UTF-8");
}

absl::StatusOr<nlohmann::json> DigestOfRefusals(const Tokenizer& tokenizer) {
  Sha256 hash;
  const std::vector<std::string> texts = BrokenBytes();
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(const int32_t at, RefusedAt(tokenizer, text));
    Hash(hash, at);
  }
  return nlohmann::json{{"texts", texts.size()}, {"sha256", std::move(hash).Finish().ToHex()}};
}

}  // namespace

absl::StatusOr<nlohmann::json> HostileDigests(std::string_view tokenizer_json,
                                              std::string_view source) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(tokenizer_json, source));
  ASSIGN_OR_RETURN(const std::vector<std::string> added, AddedTokenTexts(tokenizer_json, source));
  nlohmann::json result;
  for (const TextGroup& group : HostileTexts(added)) {
    ASSIGN_OR_RETURN(result[group.name], DigestOf(tokenizer, group));
  }
  ASSIGN_OR_RETURN(result["broken bytes"], DigestOfRefusals(tokenizer));
  return result;
}

}  // namespace fedtune
