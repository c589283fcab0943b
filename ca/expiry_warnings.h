// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "ca/authority_directory.h"

namespace fedtune {

// Warnings on stderr of what expires soon, by which the custodian is reminded: nobody else
// can renew it.

// The authority's own certificate.
void WarnOfAuthority(const AuthorityDirectory& directory, absl::Time now);

// Those of institutions that sign in secure rounds, the newest of each; a roster is without
// those that have expired. Who has had none for a month has left. Errors as List().
absl::Status WarnOfSigners(const AuthorityDirectory& directory, absl::Time now);

}  // namespace fedtune
