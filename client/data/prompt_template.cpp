// SPDX-License-Identifier: Apache-2.0

#include "client/data/prompt_template.h"

#include "fmt/format.h"

namespace fedtune {
namespace {

std::string PromptOf(const InstructionRecord& record) {
  if (record.instruction.empty()) return record.input + ":";
  if (record.input.empty()) return record.instruction + ":";
  return fmt::format("{}\n{}:", record.instruction, record.input);
}

std::vector<PromptSegment> Render(const InstructionRecord& record) {
  return {{PromptOf(record), /*is_answer=*/false}, {" " + record.output, /*is_answer=*/true}};
}

std::vector<PromptSegment> Render(const ConversationRecord& record) {
  std::vector<PromptSegment> segments;
  std::string prompt;
  for (const Turn& turn : record.turns) {
    if (turn.role == "assistant") {
      segments.push_back({prompt + "assistant:", /*is_answer=*/false});
      segments.push_back({" " + turn.content, /*is_answer=*/true, turn.is_learnt});
      prompt.clear();
    } else {
      prompt += fmt::format("{}: {}\n", turn.role, turn.content);
    }
  }
  return segments;
}

}  // namespace

std::vector<PromptSegment> RenderPlain(const DatasetRecord& record) {
  return std::visit([](const auto& one) { return Render(one); }, record);
}

}  // namespace fedtune
