// SPDX-License-Identifier: Apache-2.0

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/chat/chat_template.h"
#include "model/tokenizer/utf8.h"

// Whatever a model's template is, it ends, and writes text of which only what the
// assistant said is marked.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto chat = fedtune::ChatTemplate::Parse(source, "input", {.bos = "<b>", .eos = "<e>"});
  if (!chat.ok()) return 0;
  const auto text = chat->Render(
      {{"system", "s"}, {"user", " u\xC3\xA4 "}, {"assistant", "\x01\x02"}, {"assistant", ""}},
      true);
  if (!text.ok()) return 0;
  fedtune::Check(!fedtune::FindInvalidUtf8(text->text()).has_value(), "not UTF-8");
  // What is put in the place of a part counts as said by whoever said that.
  const bool has_both = source.find('\x01') != std::string_view::npos ||
                        source.find('\x02') != std::string_view::npos ||
                        source.find("replace") != std::string_view::npos;
  for (size_t at = 0; at < text->size(); ++at) {
    const bool is_said = text->text()[at] == '\x01' || text->text()[at] == '\x02';
    fedtune::Check(has_both || text->IsAnswer(at) == is_said, "marks");
  }
  return 0;
}
