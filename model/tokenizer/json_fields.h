// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace fedtune {

// Reads typed fields of one JSON object. `where` names the object in messages,
// as in "tokenizer.json: pre_tokenizer.pretokenizers[2]". The object must
// outlive the reader.
//
// All methods return INVALID_ARGUMENT when a field has another type, and the
// ones without a default also when it is absent or null.
class JsonFields {
 public:
  // INVALID_ARGUMENT: `value` is not an object.
  static absl::StatusOr<JsonFields> Of(const nlohmann::json& value, std::string where);

  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<int64_t> Integer(std::string_view key) const;
  absl::StatusOr<const nlohmann::json*> Array(std::string_view key) const;
  absl::StatusOr<const nlohmann::json*> Object(std::string_view key) const;

  // `otherwise` when the field is absent or null.
  absl::StatusOr<bool> Bool(std::string_view key, bool otherwise) const;
  absl::StatusOr<std::string> String(std::string_view key, std::string_view otherwise) const;

  // The field, whatever it is; null when absent.
  const nlohmann::json& Any(std::string_view key) const;

  const std::string& where() const { return where_; }

 private:
  JsonFields(const nlohmann::json& object, std::string where);
  absl::Status WrongType(std::string_view key, std::string_view wanted) const;

  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace fedtune
