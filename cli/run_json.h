// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "nlohmann/json.hpp"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// What `--json` prints. Times are RFC 3339, digests "sha256:...", sizes bytes. Rounds are
// numbered from 1.
nlohmann::ordered_json RunToJson(const v1::RunStatus& run);
nlohmann::ordered_json RunToJson(const v1::GetRunResponse& run);
nlohmann::ordered_json ClientToJson(const v1::ClientStatus& client);
nlohmann::ordered_json ModelToJson(const v1::ModelEntry& model);

}  // namespace fedtune
