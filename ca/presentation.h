// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/authority_directory.h"
#include "privacy/identity/roster_text.h"

namespace fedtune {

// What `list` prints: a table, or one JSON object on each line.
std::string PresentIssued(const std::vector<IssuedCertificate>& issued, absl::Time now, bool json);

// What `show` prints about a member's certificate, an authority's, a request or
// a list of revoked certificates in PEM: lines for people, or one JSON object.
//
// For each block of the file. INVALID_ARGUMENT: it is none of the four.
absl::StatusOr<std::string> PresentFile(std::string_view pem, absl::Time now, bool json);

// What `roster show` prints; `verified` says whether its signature was.
std::string PresentRoster(const RosterContent& roster, bool verified, absl::Time now, bool json);

}  // namespace fedtune
