// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fedtune {

// An expression of a template. What `text` and `parts` are depends on the kind.
struct TemplateExpression {
  enum class Kind {
    kText,    // `text`
    kNumber,  // `number`
    kTrue,
    kFalse,
    kNone,
    kName,     // `text`
    kList,     // Its elements.
    kTuple,    // Its elements.
    kObject,   // Keys and values in turn.
    kMember,   // An object and the name or number of what is wanted of it; `text`: "." before a
               // name without brackets.
    kSlice,    // A text or list, its two limits, and the step.
    kNothing,  // A limit that is not there.
    kCall,     // What is called (kName or kMember), then arguments as `names` has them.
    kFilter,   // `text`: its name; what it is applied to, arguments.
    kTest,     // `text`: its name; what is tested, arguments.
    kNot,
    kNegative,
    kBinary,     // `text`: its sign.
    kCondition,  // What is given if the second is true, and else the third.
  };
  Kind kind = Kind::kNothing;
  std::string text = {};
  int64_t number = 0;
  std::vector<TemplateExpression> parts = {};
  std::vector<std::string> names = {};  // Of arguments; empty where they have none.
};

// What a template does, in order.
struct TemplateStatement {
  enum class Kind {
    kText,    // `text`
    kOutput,  // The value of an expression.
    kFor,     // `text`, `more_names`: the variables; the list, the condition or kNothing; its body,
              // and another where there is an else, for when no turn came to its end.
    kIf,      // Conditions; their bodies, and one more where there is an else.
    kSet,     // `text`: the variable, `member` what is set in it if anything; the value, or else a
              // body that writes it.
    kMacro,   // `text`: its name; `more_names`: its parameters; what they are if not given, or
              // kNothing; its body.
    kScope,   // A body whose variables end with it.
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  size_t line = 1;
  std::string text = {};
  std::string member = {};
  std::vector<std::string> more_names = {};
  std::vector<TemplateExpression> expressions = {};
  std::vector<std::vector<TemplateStatement>> bodies = {};
};

}  // namespace fedtune
