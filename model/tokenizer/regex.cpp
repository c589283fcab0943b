// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/regex.h"

#include <oniguruma.h>

#include <optional>
#include <string>

#include "base/check.h"
#include "fmt/format.h"
#include "model/tokenizer/character_properties.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

constexpr size_t kMaxPatternBytes = 64 * 1024;

// Steps back in one search. A run of a million spaces needs a million.
constexpr unsigned long kRetriesPerSearch = 20'000'000;

const OnigUChar* Begin(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}
const OnigUChar* End(std::string_view text) { return Begin(text) + text.size(); }

// Oniguruma wants to hear once which encodings will be used.
bool Initialized() {
  static const bool initialized = [] {
    OnigEncoding encodings[] = {Utf8OfUnicode16()};
    return onig_initialize(encodings, 1) == ONIG_NORMAL;
  }();
  return initialized;
}

std::string Describe(int code, OnigErrorInfo* info) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = onig_error_code_to_str(text, code, info);
  return ReplaceInvalidUtf8({reinterpret_cast<const char*>(text), static_cast<size_t>(length)});
}

}  // namespace

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  Check(Initialized(), "the regular expression library does not start");
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(fmt::format("expression of {} bytes; at most {} are taken",
                                                  pattern.size(), kMaxPatternBytes));
  }
  OnigRegex compiled = nullptr;
  OnigErrorInfo info{};
  const int code = onig_new(&compiled, Begin(pattern), End(pattern), ONIG_OPTION_NONE,
                            Utf8OfUnicode16(), ONIG_SYNTAX_ONIGURUMA, &info);
  if (code == ONIG_NORMAL) return Regex(compiled);
  return absl::InvalidArgumentError(
      fmt::format("not a regular expression ({})", Describe(code, &info)));
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

void Regex::Free::operator()(re_pattern_buffer* compiled) const { onig_free(compiled); }

struct RegexSearch::Memory {
  Memory() : region(onig_region_new()), parameters(onig_new_match_param()) {
    Check(region != nullptr && parameters != nullptr, "out of memory");
    onig_initialize_match_param(parameters);
    onig_set_retry_limit_in_match_of_match_param(parameters, kRetriesPerSearch);
    onig_set_retry_limit_in_search_of_match_param(parameters, kRetriesPerSearch);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    onig_region_free(region, 1);
    onig_free_match_param(parameters);
  }

  OnigRegion* region;
  OnigMatchParam* parameters;
};

RegexSearch::RegexSearch(const Regex& regex) : regex_(regex), memory_(std::make_unique<Memory>()) {}
RegexSearch::~RegexSearch() = default;

absl::Status RegexSearch::FindAll(std::string_view text, std::vector<ByteRange>& matches) {
  matches.clear();
  size_t from = 0;
  while (from <= text.size()) {
    const int found =
        onig_search_with_param(regex_.compiled_.get(), Begin(text), End(text), Begin(text) + from,
                               End(text), memory_->region, ONIG_OPTION_NONE, memory_->parameters);
    if (found == ONIG_MISMATCH) break;
    if (found < 0) {
      return absl::ResourceExhaustedError(fmt::format("no match could be found after byte {} ({})",
                                                      from, Describe(found, nullptr)));
    }
    const ByteRange match{static_cast<size_t>(memory_->region->beg[0]),
                          static_cast<size_t>(memory_->region->end[0])};
    const bool touches = !matches.empty() && matches.back().end == match.end;
    if (match.begin == match.end && touches) {
      if (from >= text.size()) break;
      from += FirstCodePoint(text.substr(from)).length;
    } else {
      matches.push_back(match);
      from = match.end;
    }
  }
  return absl::OkStatus();
}

}  // namespace fedtune
