// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "client/data/dataset.h"

namespace fedtune {

// A stretch of a rendered record: what the model reads, or what it is to learn
// to write after all that stands before.
struct PromptSegment {
  std::string text;
  bool is_answer = false;
  bool is_learnt = true;  // Of an answer.

  friend bool operator==(const PromptSegment&, const PromptSegment&) = default;
};

// A record as the text that a model without a chat template is trained on and
// asked with. Segments alternate, a prompt first and an answer last; none is
// empty. The caller puts the begin mark before the first segment and the end
// mark after every answer.
//
// An instruction record gives one prompt and one answer:
//
//   What is it?\nHeart failure:| inability of the heart to pump enough blood|
//
// where the line of an empty instruction or input is left out, and a
// conversation gives a line for each turn:
//
//   user: What is it?\nassistant:| A question.|user: And this?\nassistant:| ...|
//
// Turns after the last answer are left out: nothing is learnt from them.
std::vector<PromptSegment> RenderPlain(const DatasetRecord& record);

}  // namespace fedtune
