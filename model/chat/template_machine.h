// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/chat/marked_text.h"
#include "model/chat/template_tree.h"
#include "model/chat/template_value.h"

namespace fedtune {

// Runs one template once, within the bounds of RunTemplate(). The template must outlive it.
// Not thread-safe.
class TemplateMachine {
 public:
  using Body = std::vector<TemplateStatement>;

  explicit TemplateMachine(TemplateObject variables) { scopes_.push_back(std::move(variables)); }
  ~TemplateMachine();
  TemplateMachine(const TemplateMachine&) = delete;
  TemplateMachine& operator=(const TemplateMachine&) = delete;

  absl::Status Run(const Body& body);

  MarkedText TakeOutput() && { return std::move(output_); }

 private:
  using Result = absl::StatusOr<TemplateValue>;

  // What a loop does next.
  enum class Flow { kOn, kBreak, kContinue };

  // Counts what runs inside of what.
  class Deeper {
   public:
    explicit Deeper(int& depth) : depth_(depth) { ++depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --depth_; }

   private:
    int& depth_;
  };

  absl::Status RunOne(const TemplateStatement& statement);
  absl::Status RunOutput(const TemplateStatement& statement);
  absl::Status RunIf(const TemplateStatement& statement);
  absl::Status RunFor(const TemplateStatement& statement);
  absl::Status RunSet(const TemplateStatement& statement);
  absl::Status RunInScope(const Body& body);
  absl::Status DefineMacro(const TemplateStatement& statement);
  absl::StatusOr<TemplateList> ElementsOf(const TemplateStatement& loop);
  absl::Status Write(const MarkedText& text);

  // What `body` writes, which is not written.
  Result Capture(const Body& body);

  // INVALID_ARGUMENT: also what Jinja makes lazily: it is always true, used up once, and has no
  // length, which no list is.
  Result Evaluate(const TemplateExpression& expression);

  // The same for what goes through all elements at once, where that makes no difference.
  Result EvaluateElements(const TemplateExpression& expression);
  Result EvaluateUncounted(const TemplateExpression& expression);
  Result EvaluateOfParts(const TemplateExpression& expression);
  Result EvaluateFunction(const TemplateExpression& expression, TemplateList values);
  absl::StatusOr<TemplateList> EvaluateParts(const TemplateExpression& expression, size_t from);
  Result EvaluateBinary(const TemplateExpression& expression);
  Result Call(const TemplateExpression& call);
  Result CallMacro(const TemplateStatement& macro, const std::vector<std::string>& names,
                   TemplateList arguments);
  Result RunMacro(const TemplateStatement& macro, TemplateObject given);
  Result MakeNamespace(const std::vector<std::string>& names, TemplateList arguments);

  // Undefined where there is none.
  TemplateValue Find(const std::string& name) const;

  // INVALID_ARGUMENT: it is a function, which is no value here.
  Result ValueOf(const std::string& name) const;

  // A step, as deep as it is: the stack does not grow without end.
  absl::Status CountStep();
  absl::Status CountSteps(size_t steps);

  // Values are copied: what they hold counts, too.
  absl::Status CountBytes(const TemplateValue& value);
  absl::Status CountBytes(size_t bytes);

  // A list whose elements are copied counts by its size and by what they hold.
  absl::Status CountElements(const TemplateValue& value);

  // What is compared counts also by what its objects hold.
  absl::Status CountContents(const TemplateValue& value);
  absl::Status CountMembers(const TemplateValue& value);

  // Whatever a filter or a test gives, it counts by the lists that it goes through.
  absl::Status CountFunction(const TemplateExpression& function, const TemplateList& values);

  // What the elements of the first are compared with counts for each.
  absl::Status CountSelection(const TemplateList& values);

  // A list that was made counts as one that is copied.
  Result Counted(Result list);

  std::vector<TemplateObject> scopes_;
  std::vector<std::shared_ptr<TemplateObject>> namespaces_;
  std::map<std::string, const TemplateStatement*, std::less<>> macros_;
  MarkedText output_;
  Flow flow_ = Flow::kOn;
  int depth_ = 0;
  size_t steps_ = 0;
  size_t bytes_ = 0;
  size_t held_ = 0;         // Bytes that were written around what is captured.
  bool is_placed_ = false;  // The error says in which line it is.
};

}  // namespace fedtune
