// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_runner.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/template_machine.h"

namespace fedtune {
namespace {

constexpr size_t kMaxSteps = 1'000'000;
constexpr int kMaxDepth = 1000;
constexpr size_t kElementsOfStep = 8;  // How many of a list are gone through within a step.
constexpr size_t kStepsOfLoop = 10;    // What making "loop" anew counts.
constexpr size_t kMaxOutput = size_t{64} << 20;
constexpr size_t kMaxBytes = size_t{1} << 30;

absl::Status Wrong(const std::string& what) { return absl::InvalidArgumentError(what); }

// What a loop's body knows of it.
TemplateValue LoopValue(const TemplateList& elements, size_t i) {
  const auto at = static_cast<int64_t>(i);
  const auto last = static_cast<int64_t>(elements.size()) - 1;
  TemplateObject loop{{"index0", {at}},
                      {"index", {at + 1}},
                      {"first", {at == 0}},
                      {"last", {at == last}},
                      {"length", {last + 1}},
                      {"revindex0", {last - at}},
                      {"revindex", {last - at + 1}},
                      {"depth", {int64_t{1}}},
                      {"depth0", {int64_t{0}}}};
  if (at > 0) loop["previtem"] = elements[i - 1];
  if (at < last) loop["nextitem"] = elements[i + 1];
  return ObjectValue(std::move(loop));
}

}  // namespace

// Namespaces may hold each other.
TemplateMachine::~TemplateMachine() {
  for (const std::shared_ptr<TemplateObject>& space : namespaces_) space->clear();
}

absl::Status TemplateMachine::Run(const Body& body) {
  for (const TemplateStatement& statement : body) {
    const absl::Status status = RunOne(statement);
    if (status.ok() && flow_ == Flow::kOn) continue;
    if (status.ok() || is_placed_) return status;
    is_placed_ = true;
    return Annotate(status, fmt::format("line {}", statement.line));
  }
  return absl::OkStatus();
}

absl::Status TemplateMachine::RunOne(const TemplateStatement& statement) {
  const Deeper deeper(depth_);
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
    case TemplateStatement::Kind::kMacro:
      return DefineMacro(statement);
    case TemplateStatement::Kind::kScope:
      return RunInScope(statement.bodies[0]);
    case TemplateStatement::Kind::kBreak:
      flow_ = Flow::kBreak;
      break;
    case TemplateStatement::Kind::kContinue:
      flow_ = Flow::kContinue;
      break;
  }
  return absl::OkStatus();
}

absl::Status TemplateMachine::CountStep() {
  if (depth_ <= kMaxDepth) return CountSteps(1);
  return absl::ResourceExhaustedError("the chat template's parts call each other too deeply");
}

absl::Status TemplateMachine::CountSteps(size_t steps) {
  steps_ += steps;
  if (steps_ <= kMaxSteps) return absl::OkStatus();
  return absl::ResourceExhaustedError("the chat template takes too many steps");
}

absl::Status TemplateMachine::CountBytes(const TemplateValue& value) {
  return value.text() == nullptr ? absl::OkStatus() : CountBytes(value.text()->size());
}

absl::Status TemplateMachine::CountBytes(size_t bytes) {
  bytes_ += bytes;
  if (bytes_ <= kMaxBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError("the chat template handles too much text");
}

absl::Status TemplateMachine::CountElements(const TemplateValue& value) {
  if (value.list() == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(CountSteps(value.list()->size() / kElementsOfStep));
  RETURN_IF_ERROR(CountBytes(value.list()->size() * sizeof(TemplateValue)));
  for (const TemplateValue& element : *value.list()) RETURN_IF_ERROR(CountBytes(element));
  return absl::OkStatus();
}

absl::Status TemplateMachine::CountMembers(const TemplateValue& value) {
  if (value.object() == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(CountBytes(value.object()->size() * sizeof(TemplateValue)));
  for (const auto& [name, member] : *value.object()) RETURN_IF_ERROR(CountBytes(member));
  return absl::OkStatus();
}

absl::Status TemplateMachine::CountContents(const TemplateValue& value) {
  RETURN_IF_ERROR(CountElements(value));
  if (value.list() == nullptr) return CountMembers(value);
  for (const TemplateValue& element : *value.list()) RETURN_IF_ERROR(CountMembers(element));
  return absl::OkStatus();
}

absl::Status TemplateMachine::CountFunction(const TemplateExpression& function,
                                            const TemplateList& values) {
  constexpr std::string_view kTakeNoElements[] = {"length", "count", "first", "last", "default"};
  constexpr std::string_view kTakeMembers[] = {"selectattr", "rejectattr", "map"};
  const auto is_one_of = [&](const auto& names) {
    return std::ranges::find(names, function.text) != std::end(names);
  };
  const bool is_filter = function.kind == TemplateExpression::Kind::kFilter;
  if (is_filter ? is_one_of(kTakeNoElements) : values.size() == 1) return absl::OkStatus();
  const bool compares = !is_filter || is_one_of(kTakeMembers);
  for (const TemplateValue& value : values) {
    RETURN_IF_ERROR(compares ? CountContents(value) : CountElements(value));
  }
  return is_filter && compares ? CountSelection(values) : absl::OkStatus();
}

absl::Status TemplateMachine::CountSelection(const TemplateList& values) {
  const size_t elements = values[0].list() == nullptr ? 0 : values[0].list()->size();
  for (size_t i = 0; i < elements; ++i) {
    for (size_t other = 1; other < values.size(); ++other) {
      RETURN_IF_ERROR(CountBytes(values[other]));
      RETURN_IF_ERROR(CountContents(values[other]));
    }
  }
  return absl::OkStatus();
}

absl::Status TemplateMachine::Write(const MarkedText& text) {
  if (held_ + output_.size() + text.size() > kMaxOutput) {
    return absl::ResourceExhaustedError("the chat template writes too much");
  }
  RETURN_IF_ERROR(CountBytes(text.size()));
  output_ += text;
  return absl::OkStatus();
}

absl::StatusOr<TemplateValue> TemplateMachine::Capture(const Body& body) {
  MarkedText before = std::exchange(output_, MarkedText());
  held_ += before.size();
  const absl::Status status = RunInScope(body);
  held_ -= before.size();
  TemplateValue written{std::exchange(output_, std::move(before))};
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(CountBytes(written));
  return written;
}

absl::Status TemplateMachine::RunInScope(const Body& body) {
  scopes_.emplace_back();
  const absl::Status status = Run(body);
  scopes_.pop_back();
  return status;
}

absl::Status TemplateMachine::RunOutput(const TemplateStatement& statement) {
  ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(statement.expressions[0]));
  ASSIGN_OR_RETURN(const MarkedText text, WrittenOut(value));
  return Write(text);
}

absl::Status TemplateMachine::RunIf(const TemplateStatement& statement) {
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
absl::StatusOr<TemplateList> TemplateMachine::ElementsOf(const TemplateStatement& loop) {
  ASSIGN_OR_RETURN(const TemplateValue value, EvaluateElements(loop.expressions[0]));
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
    const bool has_condition = loop.expressions[1].kind != TemplateExpression::Kind::kNothing;
    Result condition = has_condition ? Evaluate(loop.expressions[1]) : TemplateValue{true};
    scopes_.pop_back();
    RETURN_IF_ERROR(condition.status());
    if (IsTrue(*condition)) elements.push_back(element);
  }
  return elements;
}

absl::Status TemplateMachine::RunFor(const TemplateStatement& statement) {
  ASSIGN_OR_RETURN(const TemplateList elements, ElementsOf(statement));
  bool came_to_an_end = false;  // The body, once.
  for (size_t i = 0; i < elements.size(); ++i) {
    RETURN_IF_ERROR(CountSteps(kStepsOfLoop));
    scopes_.push_back({{statement.text, elements[i]}, {"loop", LoopValue(elements, i)}});
    const absl::Status status = Run(statement.bodies[0]);
    scopes_.pop_back();
    RETURN_IF_ERROR(status);
    came_to_an_end = came_to_an_end || flow_ == Flow::kOn;
    if (std::exchange(flow_, Flow::kOn) == Flow::kBreak) break;
  }
  const bool has_else = statement.bodies.size() > 1;
  return has_else && !came_to_an_end ? RunInScope(statement.bodies[1]) : absl::OkStatus();
}

absl::Status TemplateMachine::RunSet(const TemplateStatement& statement) {
  ASSIGN_OR_RETURN(TemplateValue value, statement.expressions.empty()
                                            ? Capture(statement.bodies[0])
                                            : Evaluate(statement.expressions[0]));
  if (statement.member.empty()) {
    scopes_.back()[statement.text] = std::move(value);
    return absl::OkStatus();
  }
  const TemplateValue target = Find(statement.text);
  if (!target.is_namespace()) {
    return Wrong(fmt::format("\"{}\" is no namespace", statement.text));
  }
  if (statement.member.starts_with('_')) return Wrong("a namespace's name begins with _");
  (**target.As<TemplateValue::Namespace>())[statement.member] = std::move(value);
  return absl::OkStatus();
}

absl::Status TemplateMachine::DefineMacro(const TemplateStatement& statement) {
  if (scopes_.size() > 1) return Wrong("a macro inside of a loop or a macro is not supported");
  if (!Find(statement.text).is_undefined()) return Wrong("a macro has the name of a variable");
  macros_[statement.text] = &statement;
  return absl::OkStatus();
}

absl::StatusOr<MarkedText> RunTemplate(const std::vector<TemplateStatement>& statements,
                                       TemplateObject variables) {
  TemplateMachine machine(std::move(variables));
  RETURN_IF_ERROR(machine.Run(statements));
  return std::move(machine).TakeOutput();
}

}  // namespace fedtune
