// SPDX-License-Identifier: Apache-2.0

#include "base/number_checks.h"

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// What `is_valid` refuses must be `words`.
CLI::Validator Checked(std::function<bool(const std::string&)> is_valid, const std::string& words) {
  const auto check = [is_valid = std::move(is_valid), words](const std::string& text) {
    return is_valid(text) ? std::string() : fmt::format("{} must be {}", text, words);
  };
  return CLI::Validator(check, words);
}

}  // namespace

CLI::Validator WholeNumber(int64_t least, int64_t most) {
  return Checked(
      [=](const std::string& text) {
        int64_t value = 0;
        return absl::SimpleAtoi(text, &value) && value >= least && value <= most;
      },
      fmt::format("from {} to {}", least, most));
}

CLI::Validator Seed() { return WholeNumber(0, INT64_MAX).description("from 0 on"); }

CLI::Validator PositiveNumber(double most) {
  return Checked(
      [=](const std::string& text) {
        double value = 0;
        return absl::SimpleAtod(text, &value) && value > 0 && value <= most;
      },
      fmt::format("above 0 and at most {}", most));
}

CLI::Validator NumberFrom(double least, double most) {
  return Checked(
      [=](const std::string& text) {
        double value = 0;
        return absl::SimpleAtod(text, &value) && value >= least && value <= most;
      },
      fmt::format("from {} to {}", least, most));
}

}  // namespace fedtune
