// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// The DNS name in every coordinator's certificate. Clients and administrators
// ask for it instead of the host they dial, so that hosts may change.
inline constexpr char kCoordinatorHost[] = "coordinator.fedtune";

// What a member of a federation may do.
// A signer is an institution's key for what it says in secure rounds; nobody
// connects as one.
enum class Role { kCoordinator, kClient, kAdministrator, kSigner };

// "coordinator", "client", "administrator", "signer".
std::string_view RoleName(Role role);

// INVALID_ARGUMENT: no such role; names those there are.
absl::StatusOr<Role> ParseRole(std::string_view name);

// Who somebody is. A certificate carries it as its one URI SAN,
//
//   fedtune://<federation>/<role>/<name>
//
// and no message says it anywhere else.
struct Identity {
  std::string federation;
  Role role = Role::kClient;
  std::string name;

  friend auto operator<=>(const Identity&, const Identity&) = default;
};

// Names of federations and members: 1 to 63 of a-z, 0-9 and "-". `what` is how
// the message calls it, as in "federation".
//
// INVALID_ARGUMENT: anything else.
absl::Status CheckIdentityName(std::string_view what, std::string_view name);

// INVALID_ARGUMENT: federation or name is none (see CheckIdentityName).
absl::Status CheckIdentity(const Identity& identity);

// INVALID_ARGUMENT: anything that ToUri() would not write.
absl::StatusOr<Identity> ParseIdentityUri(std::string_view uri);

// Requires: CheckIdentity() finds nothing wrong.
std::string ToUri(const Identity& identity);

// "client st-anna of federation north", for people.
std::string Describe(const Identity& identity);

}  // namespace fedtune
