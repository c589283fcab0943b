// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct re_pattern_buffer;  // Oniguruma's compiled expression.
struct re_registers;       // And where its groups matched.

namespace fedtune {

// The bytes from `begin` up to, but not including, `end`.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;

  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// A compiled regular expression over UTF-8, in Oniguruma's own syntax: the one
// that the expressions of tokenizer files are written in, with the characters of
// Unicode 16 (see Utf8OfUnicode16()). Thread-safe.
class Regex {
 public:
  // INVALID_ARGUMENT: not an expression (says why), or longer than 64 KiB.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  friend class RegexSearch;
  explicit Regex(re_pattern_buffer* compiled) : compiled_(compiled) {}

  struct Free {
    void operator()(re_pattern_buffer* compiled) const;
  };
  std::unique_ptr<re_pattern_buffer, Free> compiled_;
};

// The working memory of searches with one expression, which must outlive it.
// Not thread-safe.
class RegexSearch {
 public:
  explicit RegexSearch(const Regex& regex);
  RegexSearch(const RegexSearch&) = delete;
  RegexSearch& operator=(const RegexSearch&) = delete;
  ~RegexSearch();

  // Replaces `matches` by all matches in `text`, well-formed UTF-8, from left
  // to right without overlap. An empty match is kept unless it touches the
  // match before it. Anchors and look-arounds see `text` and nothing else.
  //
  // RESOURCE_EXHAUSTED: the expression tries too many ways to match this text.
  absl::Status FindAll(std::string_view text, std::vector<ByteRange>& matches);

 private:
  struct Memory;

  const Regex& regex_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace fedtune
