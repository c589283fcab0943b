// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/json_fields.h"

#include <utility>

#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<JsonFields> JsonFields::Of(const nlohmann::json& value, std::string where) {
  if (!value.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: must be an object", where));
  }
  return JsonFields(value, std::move(where));
}

JsonFields::JsonFields(const nlohmann::json& object, std::string where)
    : object_(&object), where_(std::move(where)) {}

const nlohmann::json& JsonFields::Any(std::string_view key) const {
  static const nlohmann::json absent;
  const auto found = object_->find(std::string(key));
  return found == object_->end() ? absent : *found;
}

absl::Status JsonFields::WrongType(std::string_view key, std::string_view wanted) const {
  if (Any(key).is_null()) {
    return absl::InvalidArgumentError(fmt::format("{}: \"{}\" is missing", where_, key));
  }
  return absl::InvalidArgumentError(fmt::format("{}: \"{}\" must be {}", where_, key, wanted));
}

absl::StatusOr<std::string> JsonFields::String(std::string_view key) const {
  const nlohmann::json& value = Any(key);
  if (!value.is_string()) return WrongType(key, "text");
  return value.get_ref<const std::string&>();
}

absl::StatusOr<std::string> JsonFields::String(std::string_view key,
                                               std::string_view otherwise) const {
  if (Any(key).is_null()) return std::string(otherwise);
  return String(key);
}

absl::StatusOr<bool> JsonFields::Bool(std::string_view key) const {
  const nlohmann::json& value = Any(key);
  if (!value.is_boolean()) return WrongType(key, "true or false");
  return value.get<bool>();
}

absl::StatusOr<bool> JsonFields::Bool(std::string_view key, bool otherwise) const {
  if (Any(key).is_null()) return otherwise;
  return Bool(key);
}

absl::StatusOr<int64_t> JsonFields::Integer(std::string_view key) const {
  const nlohmann::json& value = Any(key);
  if (!value.is_number_integer()) return WrongType(key, "a whole number");
  return value.get<int64_t>();
}

absl::StatusOr<const nlohmann::json*> JsonFields::Array(std::string_view key) const {
  const nlohmann::json& value = Any(key);
  if (!value.is_array()) return WrongType(key, "a list");
  return &value;
}

absl::StatusOr<const nlohmann::json*> JsonFields::Object(std::string_view key) const {
  const nlohmann::json& value = Any(key);
  if (!value.is_object()) return WrongType(key, "an object");
  return &value;
}

}  // namespace fedtune
