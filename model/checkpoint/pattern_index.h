// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/checkpoint/name_pattern.h"

namespace fedtune {

// Finds the first of many patterns that matches a name: plain ones of one form, which have
// their dots in the same places, with one look, others one after the other. An adapter may
// have a pattern for each of its thousands of modules.
class PatternIndex {
 public:
  void Add(const NamePattern& pattern);

  // Its number, counted from 0 in the order in which they were added.
  std::optional<size_t> First(std::string_view name) const;

  // How many looks a name may take.
  size_t looks() const { return forms_.size() + expressions_.size(); }

 private:
  struct Form {
    size_t size = 0;
    std::vector<size_t> dots;                         // Where they are: any character.
    std::unordered_map<std::string, size_t> numbers;  // Of the first of each text.
  };
  struct Expression {
    size_t number = 0;
    NamePattern pattern;
  };

  static std::optional<size_t> FirstOf(const Form& form, std::string_view name);

  size_t count_ = 0;
  std::vector<Form> forms_;
  std::unordered_map<std::string, size_t> form_of_;  // By a text with 'x' for all but dots.
  std::vector<Expression> expressions_;
};

// Patterns, each with what holds for the names that it matches; of several that match, the
// first counts.
template <typename T>
class NamePatterns {
 public:
  void Add(NamePattern pattern, T value) {
    index_.Add(pattern);
    all_.emplace_back(std::move(pattern), value);
  }

  // What the first pattern says that matches `name`; nothing when none does.
  std::optional<T> First(std::string_view name) const {
    const std::optional<size_t> number = index_.First(name);
    return number ? std::optional<T>(all_[*number].second) : std::nullopt;
  }

  const std::vector<std::pair<NamePattern, T>>& all() const { return all_; }

  // As PatternIndex::looks().
  size_t looks() const { return index_.looks(); }

 private:
  std::vector<std::pair<NamePattern, T>> all_;
  PatternIndex index_;
};

}  // namespace fedtune
