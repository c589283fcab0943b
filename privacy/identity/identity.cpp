// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/identity.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kScheme = "fedtune://";
constexpr size_t kLongestName = 63;
constexpr std::array kRoles = {Role::kCoordinator, Role::kClient, Role::kAdministrator,
                               Role::kSigner};

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

absl::Status NotAnIdentity(std::string_view uri) {
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no identity; one looks like fedtune://FEDERATION/ROLE/NAME",
                  PrintableText(uri, 200)));
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kCoordinator:
      return "coordinator";
    case Role::kClient:
      return "client";
    case Role::kAdministrator:
      return "administrator";
    case Role::kSigner:
      return "signer";
  }
  Check(false, "a role is one of the four");
  return "";
}

absl::StatusOr<Role> ParseRole(std::string_view name) {
  for (const Role role : kRoles) {
    if (name == RoleName(role)) return role;
  }
  return absl::InvalidArgumentError(
      fmt::format("unknown role \"{}\"; there is coordinator, client, administrator and signer",
                  PrintableText(name, 80)));
}

absl::Status CheckIdentityName(std::string_view what, std::string_view name) {
  if (!name.empty() && name.size() <= kLongestName && std::ranges::all_of(name, IsNameCharacter)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{} \"{}\" is not a name: 1 to 63 lower-case letters a-z, digits and \"-\"", what,
                  PrintableText(name, 80)));
}

absl::Status CheckIdentity(const Identity& identity) {
  RETURN_IF_ERROR(CheckIdentityName("federation", identity.federation));
  return CheckIdentityName(RoleName(identity.role), identity.name);
}

absl::StatusOr<Identity> ParseIdentityUri(std::string_view uri) {
  if (!uri.starts_with(kScheme)) return NotAnIdentity(uri);
  const std::string_view rest = uri.substr(kScheme.size());
  const size_t first = rest.find('/');
  const size_t second = rest.find('/', first == rest.npos ? first : first + 1);
  if (second == rest.npos) return NotAnIdentity(uri);
  ASSIGN_OR_RETURN(const Role role, ParseRole(rest.substr(first + 1, second - first - 1)));
  Identity identity{.federation = std::string(rest.substr(0, first)),
                    .role = role,
                    .name = std::string(rest.substr(second + 1))};
  RETURN_IF_ERROR(CheckIdentity(identity));
  return identity;
}

std::string ToUri(const Identity& identity) {
  Check(CheckIdentity(identity).ok(), "an identity has valid names");
  return fmt::format("{}{}/{}/{}", kScheme, identity.federation, RoleName(identity.role),
                     identity.name);
}

std::string Describe(const Identity& identity) {
  return fmt::format("{} {} of federation {}", RoleName(identity.role), identity.name,
                     identity.federation);
}

}  // namespace fedtune
