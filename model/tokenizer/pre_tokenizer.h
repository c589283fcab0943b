// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/splitter.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// The words that one text was cut into. A word looks into the text or, when a
// space was put before it, into `owned`.
struct Words {
  std::vector<std::string_view> words;
  std::deque<std::string> owned;
};

// Cuts text into the words inside which tokens are merged, as the section
// "pre_tokenizer" of a tokenizer file says. Thread-safe.
class PreTokenizer {
 public:
  // Takes Sequence, Split, Digits and, as its last step, one ByteLevel.
  //
  // INVALID_ARGUMENT: any other step (named in the message), a step after
  // ByteLevel or none, a broken expression, a missing or ill-typed field.
  static absl::StatusOr<PreTokenizer> FromJson(const nlohmann::json& section, std::string where);

  // Replaces `words` by those of `text`, well-formed UTF-8, which must outlive
  // them. No word is empty.
  //
  // RESOURCE_EXHAUSTED: an expression tries too many ways to match this text.
  absl::Status Split(std::string_view text, Words& words) const;

 private:
  PreTokenizer() = default;
  absl::Status AddStep(const nlohmann::json& step, std::string where);
  absl::Status AddSplit(const JsonFields& fields);
  absl::Status AddSequence(const nlohmann::json& steps, const std::string& where);
  void PutSpaceBeforeEach(Words& words) const;

  void RecogniseFamily();

  std::vector<Splitter> splitters_;
  std::vector<std::string> expressions_;        // Of `splitters_`; empty where it is no plain one.
  bool is_family_ = false;                      // `splitters_` do what SplitAsFamily() does.
  std::vector<Splitter> byte_level_splitters_;  // One when ByteLevel splits itself.
  bool add_prefix_space_ = false;
  bool has_byte_level_ = false;
};

}  // namespace fedtune
