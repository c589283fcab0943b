// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/pattern_index.h"

#include <algorithm>

namespace fedtune {

void PatternIndex::Add(const NamePattern& pattern) {
  const size_t number = count_++;
  if (!pattern.is_plain()) return expressions_.push_back({number, pattern});
  std::string form = pattern.text();
  std::replace_if(
      form.begin(), form.end(), [](char c) { return c != '.'; }, 'x');
  const auto [known, is_new] = form_of_.try_emplace(form, forms_.size());
  if (is_new) {
    Form& added = forms_.emplace_back();
    added.size = form.size();
    for (size_t i = 0; i < form.size(); ++i) {
      if (form[i] == '.') added.dots.push_back(i);
    }
  }
  forms_[known->second].numbers.try_emplace(pattern.text(), number);
}

std::optional<size_t> PatternIndex::First(std::string_view name) const {
  std::optional<size_t> first;
  for (const Form& form : forms_) {
    const std::optional<size_t> number = FirstOf(form, name);
    if (number && (!first || *number < *first)) first = number;
  }
  for (const Expression& expression : expressions_) {
    if (first && *first < expression.number) break;
    if (expression.pattern.Matches(name)) return expression.number;
  }
  return first;
}

std::optional<size_t> PatternIndex::FirstOf(const Form& form, std::string_view name) {
  if (name.size() < form.size) return std::nullopt;
  const size_t begin = name.size() - form.size;
  if (begin > 0 && name[begin - 1] != '.') return std::nullopt;
  std::string text(name.substr(begin));
  for (const size_t dot : form.dots) text[dot] = '.';
  const auto found = form.numbers.find(text);
  return found == form.numbers.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace fedtune
