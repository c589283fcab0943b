// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/checkpoint_json.h"

#include <string>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::StatusOr<std::string> TextAt(const nlohmann::json& json, const char* key,
                                   std::string_view source) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found != json.end() && found->is_string()) return found->get<std::string>();
  return absl::InvalidArgumentError(fmt::format(
      "{} has no checkpoint of a log: a JSON object with \"note\" and \"certificate\"", source));
}

}  // namespace

nlohmann::ordered_json CheckpointToJson(const SignedCheckpoint& checkpoint) {
  return {{"note", checkpoint.note}, {"certificate", checkpoint.certificate_pem}};
}

absl::StatusOr<SignedCheckpoint> CheckpointFromJson(const nlohmann::json& json,
                                                    std::string_view source) {
  SignedCheckpoint checkpoint;
  ASSIGN_OR_RETURN(checkpoint.note, TextAt(json, "note", source));
  ASSIGN_OR_RETURN(checkpoint.certificate_pem, TextAt(json, "certificate", source));
  return checkpoint;
}

}  // namespace fedtune
