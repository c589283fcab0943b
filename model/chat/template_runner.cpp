// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_runner.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/template_functions.h"

namespace fedtune {
namespace {

using Kind = TemplateExpression::Kind;
using Body = std::vector<TemplateStatement>;

constexpr int64_t kMaxSteps = 1'000'000;
constexpr int64_t kStepsOfLoop = 10;  // What making "loop" anew counts.
constexpr size_t kMaxOutput = size_t{64} << 20;
constexpr size_t kMaxBytes = size_t{1} << 30;

absl::Status Wrong(const std::string& what) { return absl::InvalidArgumentError(what); }

class Runner {
 public:
  explicit Runner(TemplateObject variables) { scopes_.push_back(std::move(variables)); }

  absl::Status Run(const Body& body) {
    for (const TemplateStatement& statement : body) {
      absl::Status status = RunOne(statement);
      if (status.ok()) continue;
      if (is_placed_) return status;
      is_placed_ = true;
      return Annotate(status, fmt::format("line {}", statement.line));
    }
    return absl::OkStatus();
  }

  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Namespaces may hold each other.
  ~Runner() {
    for (const std::shared_ptr<TemplateObject>& space : namespaces_) space->clear();
  }

  MarkedText TakeOutput() && { return std::move(output_); }

 private:
  using Result = absl::StatusOr<TemplateValue>;

  absl::Status RunOne(const TemplateStatement& statement) {
    RETURN_IF_ERROR(CountStep());
    switch (statement.kind) {
      case TemplateStatement::Kind::kText:
        return Write(MarkedText(statement.text));
      case TemplateStatement::Kind::kOutput:
        return RunOutput(statement);
      case TemplateStatement::Kind::kFor:
        return RunFor(statement);
      case TemplateStatement::Kind::kIf:
        return RunIf(statement);
      case TemplateStatement::Kind::kSet:
        return RunSet(statement);
    }
    return absl::OkStatus();
  }

  absl::Status CountStep() {
    if (++steps_ <= kMaxSteps) return absl::OkStatus();
    return absl::ResourceExhaustedError("the chat template takes too many steps");
  }

  // Values are copied: what they hold counts, too.
  absl::Status CountBytes(const TemplateValue& value) {
    if (value.text() != nullptr) bytes_ += value.text()->size();
    if (bytes_ <= kMaxBytes) return absl::OkStatus();
    return absl::ResourceExhaustedError("the chat template handles too much text");
  }

  absl::Status Write(const MarkedText& text) {
    if (output_.size() + text.size() > kMaxOutput) {
      return absl::ResourceExhaustedError("the chat template writes too much");
    }
    output_ += text;
    return absl::OkStatus();
  }

  absl::Status RunOutput(const TemplateStatement& statement) {
    ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(statement.expressions[0]));
    ASSIGN_OR_RETURN(const MarkedText text, WrittenOut(value));
    return Write(text);
  }

  absl::Status RunIf(const TemplateStatement& statement) {
    for (size_t i = 0; i < statement.bodies.size(); ++i) {
      if (i < statement.expressions.size()) {
        ASSIGN_OR_RETURN(const TemplateValue condition, Evaluate(statement.expressions[i]));
        if (!IsTrue(condition)) continue;
      }
      return Run(statement.bodies[i]);
    }
    return absl::OkStatus();
  }

  // The elements that the loop goes over.
  absl::StatusOr<TemplateList> ElementsOf(const TemplateStatement& loop) {
    ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(loop.expressions[0]));
    TemplateList elements;
    if (value.is_undefined()) return elements;
    if (value.list() == nullptr) return Wrong("\"for\" is only for lists");
    if (!loop.more_names.empty() && !value.list()->empty()) {
      return Wrong("\"for\" with more than one name is not supported with these values");
    }
    for (const TemplateValue& element : *value.list()) {
      RETURN_IF_ERROR(CountStep());
      RETURN_IF_ERROR(CountBytes(element));
      scopes_.push_back({{loop.text, element}});
      const bool has_condition = loop.expressions[1].kind != Kind::kNothing;
      Result condition = has_condition ? Evaluate(loop.expressions[1]) : TemplateValue{true};
      scopes_.pop_back();
      RETURN_IF_ERROR(condition.status());
      if (IsTrue(*condition)) elements.push_back(element);
    }
    return elements;
  }

  absl::Status RunFor(const TemplateStatement& statement) {
    ASSIGN_OR_RETURN(const TemplateList elements, ElementsOf(statement));
    for (size_t i = 0; i < elements.size(); ++i) {
      steps_ += kStepsOfLoop;
      const auto at = static_cast<int64_t>(i);
      const auto last = static_cast<int64_t>(elements.size()) - 1;
      TemplateObject loop{{"index0", {at}},
                          {"index", {at + 1}},
                          {"first", {at == 0}},
                          {"last", {at == last}},
                          {"length", {last + 1}},
                          {"revindex0", {last - at}},
                          {"revindex", {last - at + 1}}};
      if (at > 0) loop["previtem"] = elements[i - 1];
      if (at < last) loop["nextitem"] = elements[i + 1];
      scopes_.push_back({{statement.text, elements[i]}, {"loop", ObjectValue(std::move(loop))}});
      const absl::Status status = Run(statement.bodies[0]);
      scopes_.pop_back();
      RETURN_IF_ERROR(status);
    }
    return absl::OkStatus();
  }

  absl::Status RunSet(const TemplateStatement& statement) {
    ASSIGN_OR_RETURN(TemplateValue value, Evaluate(statement.expressions[0]));
    if (statement.member.empty()) {
      scopes_.back()[statement.text] = std::move(value);
      return absl::OkStatus();
    }
    const TemplateValue target = Find(statement.text);
    for (const std::shared_ptr<TemplateObject>& space : namespaces_) {
      if (space.get() != target.object()) continue;
      (*space)[statement.member] = std::move(value);
      return absl::OkStatus();
    }
    return Wrong(fmt::format("\"{}\" is no namespace", statement.text));
  }

  TemplateValue Find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found != scope->end()) return found->second;
    }
    return TemplateValue();
  }

  Result Evaluate(const TemplateExpression& expression) {
    RETURN_IF_ERROR(CountStep());
    Result value = EvaluateUncounted(expression);
    if (value.ok()) RETURN_IF_ERROR(CountBytes(*value));
    return value;
  }

  Result EvaluateUncounted(const TemplateExpression& expression) {
    switch (expression.kind) {
      case Kind::kText:
        return TextValue(expression.text);
      case Kind::kNumber:
        return TemplateValue{expression.number};
      case Kind::kTrue:
        return TemplateValue{true};
      case Kind::kFalse:
        return TemplateValue{false};
      case Kind::kNone:
        return TemplateValue{TemplateValue::None{}};
      case Kind::kName:
        return Find(expression.text);
      case Kind::kNothing:
        return TemplateValue();
      default:
        return EvaluateParts(expression);
    }
  }

  Result EvaluateParts(const TemplateExpression& expression) {
    switch (expression.kind) {
      case Kind::kCall:
        return Call(expression);
      case Kind::kBinary:
        return EvaluateBinary(expression);
      case Kind::kCondition: {
        ASSIGN_OR_RETURN(const TemplateValue condition, Evaluate(expression.parts[1]));
        return Evaluate(expression.parts[IsTrue(condition) ? 0 : 2]);
      }
      default:
        break;
    }
    ASSIGN_OR_RETURN(TemplateList values, EvaluateAll(expression.parts, 0));
    switch (expression.kind) {
      case Kind::kList:
        return MakeList(std::move(values));
      case Kind::kMember:
        return MemberOf(values[0], values[1]);
      case Kind::kSlice:
        return SliceOf(values[0], values[1], values[2]);
      case Kind::kNot:
        return TemplateValue{!IsTrue(values[0])};
      case Kind::kNegative:
        return Combine("-", TemplateValue{int64_t{0}}, values[0]);
      case Kind::kTest: {
        ASSIGN_OR_RETURN(const bool holds, Test(values[0], expression.text));
        return TemplateValue{holds};
      }
      case Kind::kFilter: {
        const TemplateList arguments(values.begin() + 1, values.end());
        return ApplyFilter(values[0], expression.text, arguments);
      }
      default:
        return Wrong("an expression that is not known");
    }
  }

  absl::StatusOr<TemplateList> EvaluateAll(const std::vector<TemplateExpression>& parts,
                                           size_t from) {
    TemplateList values;
    for (size_t i = from; i < parts.size(); ++i) {
      ASSIGN_OR_RETURN(values.emplace_back(), Evaluate(parts[i]));
    }
    return values;
  }

  Result EvaluateBinary(const TemplateExpression& expression) {
    ASSIGN_OR_RETURN(TemplateValue left, Evaluate(expression.parts[0]));
    if (expression.text == "and" || expression.text == "or") {
      if (IsTrue(left) == (expression.text == "or")) return left;
      return Evaluate(expression.parts[1]);
    }
    ASSIGN_OR_RETURN(const TemplateValue right, Evaluate(expression.parts[1]));
    return Combine(expression.text, left, right);
  }

  Result Call(const TemplateExpression& call) {
    ASSIGN_OR_RETURN(TemplateList arguments, EvaluateAll(call.parts, 1));
    const TemplateExpression& callee = call.parts[0];
    if (callee.kind == Kind::kMember) {
      if (callee.parts[1].kind != Kind::kText) return Wrong("what is called has no name");
      ASSIGN_OR_RETURN(const TemplateValue target, Evaluate(callee.parts[0]));
      return CallMethod(target, callee.parts[1].text, arguments);
    }
    if (callee.text == "namespace") return MakeNamespace(call, std::move(arguments));
    if (callee.text == "raise_exception" && arguments.size() == 1 &&
        arguments[0].text() != nullptr) {
      return Wrong("the chat template refuses the conversation");
    }
    return Wrong(fmt::format("function \"{}\" is not supported", callee.text));
  }

  // Lists in lists would nest as deeply as a loop likes.
  static Result MakeList(TemplateList values) {
    for (const TemplateValue& value : values) {
      if (value.list() != nullptr) return Wrong("a list in a list is not supported");
    }
    return ListValue(std::move(values));
  }

  Result MakeNamespace(const TemplateExpression& call, TemplateList arguments) {
    auto space = std::make_shared<TemplateObject>();
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (call.names[i].empty()) return Wrong("a namespace's value has no name");
      (*space)[call.names[i]] = std::move(arguments[i]);
    }
    namespaces_.push_back(space);
    return TemplateValue{std::shared_ptr<const TemplateObject>(std::move(space))};
  }

  std::vector<TemplateObject> scopes_;
  std::vector<std::shared_ptr<TemplateObject>> namespaces_;
  MarkedText output_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  bool is_placed_ = false;  // The error says in which line it is.
};

}  // namespace

absl::StatusOr<MarkedText> RunTemplate(const std::vector<TemplateStatement>& statements,
                                       TemplateObject variables) {
  Runner runner(std::move(variables));
  RETURN_IF_ERROR(runner.Run(statements));
  return std::move(runner).TakeOutput();
}

}  // namespace fedtune
