// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// The values a field may have, both ends included.
struct Range {
  double least = 0;
  double most = 0;
};

// Reads a config.json into plain fields and finds everything that is wrong
// with it. On any error the field keeps its value. A null counts as absent
// unless said otherwise, and a switch that is null is off.
// Whole numbers and fractions are taken for each other where they are equal.
// The JSON must outlive the reader. Not thread-safe.
class ConfigReader {
 public:
  // `object` must be a JSON object; `source` names it in messages.
  ConfigReader(const nlohmann::json& object, std::string source);

  void Required(std::string_view key, int64_t& field, Range range);
  void Required(std::string_view key, double& field, Range range);
  void Optional(std::string_view key, int64_t& field, Range range);
  void Optional(std::string_view key, double& field, Range range);
  void Optional(std::string_view key, bool& field);
  void Optional(std::string_view key, std::string& field);

  // What has a default only where the key is absent, as in transformers: a null is a problem.
  void Defaulted(std::string_view key, int64_t& field, Range range);
  void Defaulted(std::string_view key, double& field, Range range);

  // What a null turns off: 0 then.
  void DefaultedOrNone(std::string_view key, int64_t& field, Range range);

  // The value of `key`; null when absent.
  const nlohmann::json* Find(std::string_view key) const;

  // True when the key is there and null.
  bool IsNull(std::string_view key) const;

  // The object under `key`; null when absent. Anything else is a problem.
  const nlohmann::json* FindObject(std::string_view key);

  // Notes a problem: "<source>: <key> <problem>".
  void Reject(std::string_view key, std::string_view problem);

  // Notes the problem unless `condition`.
  void Require(bool condition, std::string_view key, std::string_view problem);

  // Notes what a reader of a part found, with this one's source before it.
  void Take(const ConfigReader& other);

  bool ok() const { return problems_.empty(); }

  // INVALID_ARGUMENT: all problems, a line each.
  absl::Status Finish() const;

 private:
  // False when there is no number in `range`; says so.
  bool ReadNumber(std::string_view key, double& value, Range range);

  const nlohmann::json& object_;
  const std::string source_;
  std::vector<std::string> problems_;
};

}  // namespace fedtune
