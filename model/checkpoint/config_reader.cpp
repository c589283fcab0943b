// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/config_reader.h"

#include <cmath>
#include <utility>

#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {

using nlohmann::json;

ConfigReader::ConfigReader(const json& object, std::string source)
    : object_(object), source_(std::move(source)) {
  Check(object.is_object(), "a configuration is read from a JSON object");
}

const json* ConfigReader::Find(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const json* ConfigReader::FindObject(std::string_view key) {
  const json* value = Find(key);
  if (value == nullptr || value->is_object()) return value;
  Reject(key, "is not an object");
  return nullptr;
}

bool ConfigReader::IsNull(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  return found != object_.end() && found->is_null();
}

bool ConfigReader::ReadNumber(std::string_view key, double& value, Range range) {
  const json& found = *Find(key);
  if (!found.is_number()) {
    Reject(key, "is not a number");
    return false;
  }
  const auto number = found.get<double>();
  if (!(number >= range.least && number <= range.most)) {
    Reject(key,
           fmt::format("is {}; it must be from {} to {}", found.dump(), range.least, range.most));
    return false;
  }
  value = number;
  return true;
}

void ConfigReader::Required(std::string_view key, int64_t& field, Range range) {
  if (Find(key) == nullptr) return Reject(key, "is missing");
  Optional(key, field, range);
}

void ConfigReader::Required(std::string_view key, double& field, Range range) {
  if (Find(key) == nullptr) return Reject(key, "is missing");
  Optional(key, field, range);
}

void ConfigReader::Optional(std::string_view key, int64_t& field, Range range) {
  double number = 0;
  if (Find(key) == nullptr || !ReadNumber(key, number, range)) return;
  if (number != std::floor(number)) return Reject(key, "is not a whole number");
  field = static_cast<int64_t>(number);
}

void ConfigReader::Optional(std::string_view key, double& field, Range range) {
  if (Find(key) != nullptr) ReadNumber(key, field, range);
}

void ConfigReader::Defaulted(std::string_view key, int64_t& field, Range range) {
  if (IsNull(key)) return Reject(key, "is null");
  Optional(key, field, range);
}

void ConfigReader::Defaulted(std::string_view key, double& field, Range range) {
  if (IsNull(key)) return Reject(key, "is null");
  Optional(key, field, range);
}

void ConfigReader::DefaultedOrNone(std::string_view key, int64_t& field, Range range) {
  if (IsNull(key)) field = 0;
  Optional(key, field, range);
}

void ConfigReader::Optional(std::string_view key, bool& field) {
  const json* value = Find(key);
  if (IsNull(key)) field = false;
  if (value == nullptr) return;
  if (!value->is_boolean()) return Reject(key, "is neither true nor false");
  field = value->get<bool>();
}

void ConfigReader::Optional(std::string_view key, std::string& field) {
  const json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_string()) return Reject(key, "is not a text");
  field = value->get<std::string>();
}

void ConfigReader::Reject(std::string_view key, std::string_view problem) {
  problems_.push_back(fmt::format("{}: {} {}", source_, key, problem));
}

void ConfigReader::Require(bool condition, std::string_view key, std::string_view problem) {
  if (!condition) Reject(key, problem);
}

void ConfigReader::Take(const ConfigReader& other) {
  for (const std::string& problem : other.problems_) {
    problems_.push_back(fmt::format("{}: {}", source_, problem));
  }
}

absl::Status ConfigReader::Finish() const {
  if (ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}", fmt::join(problems_, "\n")));
}

}  // namespace fedtune
