// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/template_functions.h"
#include "model/chat/template_machine.h"

namespace fedtune {
namespace {

using Kind = TemplateExpression::Kind;

absl::Status Wrong(std::string what) { return absl::InvalidArgumentError(std::move(what)); }

bool IsOneOf(const auto& names, std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

bool IsLazy(const TemplateExpression& expression) {
  constexpr std::string_view kLazy[] = {"selectattr", "rejectattr", "map", "reverse"};
  return expression.kind == Kind::kFilter && IsOneOf(kLazy, expression.text);
}

// Whether it goes through the elements of its first part once and at once.
bool GoesThrough(const TemplateExpression& expression) {
  constexpr std::string_view kThrough[] = {"list", "join", "first"};
  return IsLazy(expression) ||
         (expression.kind == Kind::kFilter && IsOneOf(kThrough, expression.text));
}

// What it is made of must not be a list: such would nest as deeply as a loop likes.
absl::StatusOr<TemplateValue> MakeRow(Kind kind, TemplateList values) {
  for (const TemplateValue& value : values) {
    if (value.list() != nullptr) return Wrong("a list in a list is not supported");
  }
  auto row = std::make_shared<const TemplateList>(std::move(values));
  if (kind == Kind::kTuple) return TemplateValue{TemplateValue::Tuple{std::move(row)}};
  return TemplateValue{std::move(row)};
}

absl::StatusOr<TemplateValue> MakeObject(const TemplateList& keys_and_values) {
  TemplateObject object;
  for (size_t i = 0; i < keys_and_values.size(); i += 2) {
    const TemplateValue& value = keys_and_values[i + 1];
    if (keys_and_values[i].text() == nullptr) return Wrong("an object's key is no text");
    if (value.list() != nullptr || value.object() != nullptr) {
      return Wrong("a list or an object in an object is not supported");
    }
    object[keys_and_values[i].text()->text()] = value;
  }
  return ObjectValue(std::move(object));
}

}  // namespace

TemplateValue TemplateMachine::Find(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return TemplateValue();
}

absl::StatusOr<TemplateValue> TemplateMachine::ValueOf(const std::string& name) const {
  constexpr std::string_view kFunctions[] = {"range",   "dict",      "lipsum", "cycler",
                                             "joiner",  "namespace", "self",   "raise_exception",
                                             "varargs", "kwargs"};
  TemplateValue value = Find(name);
  if (!value.is_undefined() || !(macros_.contains(name) || IsOneOf(kFunctions, name))) return value;
  return Wrong(fmt::format("function \"{}\" is not supported as a value", name));
}

absl::StatusOr<TemplateValue> TemplateMachine::Evaluate(const TemplateExpression& expression) {
  if (!IsLazy(expression)) return EvaluateElements(expression);
  return Wrong(
      fmt::format("what \"{}\" gives is supported only in \"for\", \"in\", and the filters "
                  "\"list\", \"join\" and \"first\"",
                  expression.text));
}

absl::StatusOr<TemplateValue> TemplateMachine::EvaluateElements(
    const TemplateExpression& expression) {
  const Deeper deeper(depth_);
  RETURN_IF_ERROR(CountStep());
  Result value = EvaluateUncounted(expression);
  if (value.ok()) RETURN_IF_ERROR(CountBytes(*value));
  return value;
}

absl::StatusOr<TemplateValue> TemplateMachine::EvaluateUncounted(
    const TemplateExpression& expression) {
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
      return ValueOf(expression.text);
    case Kind::kNothing:
      return TemplateValue();
    case Kind::kCall:
      return Call(expression);
    case Kind::kBinary:
      return EvaluateBinary(expression);
    case Kind::kCondition: {
      ASSIGN_OR_RETURN(const TemplateValue condition, Evaluate(expression.parts[1]));
      return Evaluate(expression.parts[IsTrue(condition) ? 0 : 2]);
    }
    default:
      return EvaluateOfParts(expression);
  }
}

absl::StatusOr<TemplateValue> TemplateMachine::EvaluateOfParts(
    const TemplateExpression& expression) {
  ASSIGN_OR_RETURN(TemplateList values, EvaluateParts(expression, 0));
  switch (expression.kind) {
    case Kind::kList:
    case Kind::kTuple:
      return MakeRow(expression.kind, std::move(values));
    case Kind::kObject:
      return MakeObject(values);
    case Kind::kMember:
      return expression.text == "." ? AttributeOf(values[0], values[1])
                                    : MemberOf(values[0], values[1]);
    case Kind::kSlice:
      RETURN_IF_ERROR(CountElements(values[0]));
      return Counted(SliceOf(values[0], {values[1], values[2], values[3]}));
    case Kind::kNot:
      return TemplateValue{!IsTrue(values[0])};
    case Kind::kNegative:
      return Combine("-", TemplateValue{int64_t{0}}, values[0]);
    default:
      return EvaluateFunction(expression, std::move(values));
  }
}

absl::StatusOr<TemplateValue> TemplateMachine::EvaluateFunction(
    const TemplateExpression& expression, TemplateList values) {
  RETURN_IF_ERROR(CountFunction(expression, values));
  const TemplateValue target = std::move(values[0]);
  values.erase(values.begin());
  const TemplateArguments arguments{std::move(values), expression.names};
  if (expression.kind == Kind::kFilter) {
    return Counted(ApplyFilter(target, expression.text, arguments));
  }
  ASSIGN_OR_RETURN(const bool holds, Test(target, expression.text, arguments));
  return TemplateValue{holds};
}

absl::StatusOr<TemplateValue> TemplateMachine::Counted(Result list) {
  if (list.ok()) RETURN_IF_ERROR(CountElements(*list));
  return list;
}

absl::StatusOr<TemplateList> TemplateMachine::EvaluateParts(const TemplateExpression& expression,
                                                            size_t from) {
  TemplateList values;
  for (size_t i = from; i < expression.parts.size(); ++i) {
    const bool goes_through = i == 0 && GoesThrough(expression);
    ASSIGN_OR_RETURN(values.emplace_back(), goes_through ? EvaluateElements(expression.parts[i])
                                                         : Evaluate(expression.parts[i]));
  }
  return values;
}

absl::StatusOr<TemplateValue> TemplateMachine::EvaluateBinary(
    const TemplateExpression& expression) {
  ASSIGN_OR_RETURN(TemplateValue left, Evaluate(expression.parts[0]));
  if (expression.text == "and" || expression.text == "or") {
    if (IsTrue(left) == (expression.text == "or")) return left;
    return Evaluate(expression.parts[1]);
  }
  ASSIGN_OR_RETURN(const TemplateValue right, expression.text == "in"
                                                  ? EvaluateElements(expression.parts[1])
                                                  : Evaluate(expression.parts[1]));
  const auto count =
      expression.text == "+" ? &TemplateMachine::CountElements : &TemplateMachine::CountContents;
  RETURN_IF_ERROR((this->*count)(left));
  RETURN_IF_ERROR((this->*count)(right));
  return Counted(Combine(expression.text, left, right));
}

absl::StatusOr<TemplateValue> TemplateMachine::Call(const TemplateExpression& call) {
  ASSIGN_OR_RETURN(TemplateList arguments, EvaluateParts(call, 1));
  const TemplateExpression& callee = call.parts[0];
  if (callee.kind == Kind::kMember) {
    if (callee.parts[1].kind != Kind::kText) return Wrong("what is called has no name");
    ASSIGN_OR_RETURN(const TemplateValue target, Evaluate(callee.parts[0]));
    return Counted(CallMethod(target, callee.parts[1].text, {std::move(arguments), call.names}));
  }
  if (!Find(callee.text).is_undefined()) {
    return Wrong(fmt::format("\"{}\" is called and is no function", callee.text));
  }
  if (const auto macro = macros_.find(callee.text); macro != macros_.end()) {
    return CallMacro(*macro->second, call.names, std::move(arguments));
  }
  if (callee.text == "namespace") return MakeNamespace(call.names, std::move(arguments));
  if (callee.text == "range") return Counted(MakeRange({std::move(arguments), call.names}));
  if (callee.text == "raise_exception" && arguments.size() == 1 && arguments[0].text() != nullptr) {
    return Wrong("the chat template refuses the conversation");
  }
  return Wrong(fmt::format("function \"{}\" is not supported", callee.text));
}

absl::StatusOr<TemplateValue> TemplateMachine::CallMacro(const TemplateStatement& macro,
                                                         const std::vector<std::string>& names,
                                                         TemplateList arguments) {
  const std::vector<std::string>& parameters = macro.more_names;
  TemplateObject given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool is_named = !names[i].empty();
    if (!is_named && i >= parameters.size()) {
      return Wrong(fmt::format("macro \"{}\" takes {} arguments", macro.text, parameters.size()));
    }
    const std::string& name = is_named ? names[i] : parameters[i];
    const bool is_known = std::ranges::find(parameters, name) != parameters.end();
    if (!is_known || !given.emplace(name, std::move(arguments[i])).second) {
      return Wrong(fmt::format("macro \"{}\" cannot take \"{}\" so", macro.text, name));
    }
  }
  // It sees the template's variables, and none of the loops and macros that call it.
  std::vector<TemplateObject> hidden(std::make_move_iterator(scopes_.begin() + 1),
                                     std::make_move_iterator(scopes_.end()));
  scopes_.resize(1);
  Result written = RunMacro(macro, std::move(given));
  scopes_.resize(1);
  scopes_.insert(scopes_.end(), std::make_move_iterator(hidden.begin()),
                 std::make_move_iterator(hidden.end()));
  return written;
}

absl::StatusOr<TemplateValue> TemplateMachine::RunMacro(const TemplateStatement& macro,
                                                        TemplateObject given) {
  scopes_.push_back(std::move(given));
  for (size_t i = 0; i < macro.more_names.size(); ++i) {
    const std::string& name = macro.more_names[i];
    if (scopes_.back().contains(name)) continue;
    ASSIGN_OR_RETURN(TemplateValue value, Evaluate(macro.expressions[i]));
    scopes_.back()[name] = std::move(value);
  }
  return Capture(macro.bodies[0]);
}

absl::StatusOr<TemplateValue> TemplateMachine::MakeNamespace(const std::vector<std::string>& names,
                                                             TemplateList arguments) {
  auto space = std::make_shared<TemplateObject>();
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (names[i].empty()) return Wrong("a namespace's value has no name");
    if (names[i].starts_with('_')) return Wrong("a namespace's name begins with _");
    (*space)[names[i]] = std::move(arguments[i]);
  }
  namespaces_.push_back(space);
  return TemplateValue{TemplateValue::Namespace(std::move(space))};
}

}  // namespace fedtune
