// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/caller.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "grpc/grpc_security_constants.h"
#include "privacy/identity/certificate.h"

namespace fedtune {
namespace {

struct Permission {
  std::string_view rpc;
  Role role;
};

constexpr std::array kPermissions = {
    Permission{"/fedtune.v1.Training/Session", Role::kClient},
    Permission{"/fedtune.v1.Training/FetchBlob", Role::kClient},
    Permission{"/fedtune.v1.Training/SubmitContribution", Role::kClient},
    Permission{"/fedtune.v1.Training/ProveLog", Role::kClient},
    Permission{"/fedtune.v1.Administration/StartRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/StopRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/PauseRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/ResumeRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/RetryRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/ListRuns", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/GetRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/WatchRun", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/ListClients", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/GetClient", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/ListModels", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/FetchBlob", Role::kAdministrator},
    Permission{"/fedtune.v1.Administration/ReadLog", Role::kAdministrator},
};

// Certificates; a few kB each.
constexpr size_t kMostRemembered = 4096;

// The certificate that the handshake has verified, in PEM.
absl::StatusOr<std::string_view> PeerCertificate(const grpc::AuthContext& context) {
  if (context.IsPeerAuthenticated()) {
    const auto found = context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (found.size() == 1) return std::string_view(found.front().data(), found.front().size());
  }
  return absl::UnauthenticatedError("this call needs a certificate of the federation");
}

}  // namespace

absl::Status HasExpired(const Identity& identity) {
  return absl::UnauthenticatedError(
      fmt::format("the certificate of {} has expired; the custodian issues a new one for the "
                  "same request.pem",
                  Describe(identity)));
}

bool MayCall(Role role, std::string_view rpc) {
  return std::any_of(kPermissions.begin(), kPermissions.end(), [&](const Permission& permission) {
    return permission.role == role && permission.rpc == rpc;
  });
}

absl::StatusOr<Certificate> CallerCheck::Read(std::string_view pem) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = read_.find(pem);
    if (found != read_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(Certificate certificate, ParseCertificate(pem));
  const std::lock_guard lock(mutex_);
  if (read_.size() >= kMostRemembered) read_.clear();
  read_.emplace(pem, certificate);
  return certificate;
}

absl::StatusOr<Caller> CallerCheck::Check(const grpc::CallbackServerContext& context,
                                          std::string_view rpc) const {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  ASSIGN_OR_RETURN(const std::string_view pem, PeerCertificate(*auth));
  const absl::StatusOr<Certificate> certificate = Read(pem);
  if (!certificate.ok()) {
    return absl::UnauthenticatedError(
        fmt::format("the certificate is none of a member: {}", Message(certificate.status())));
  }
  const Identity& identity = certificate->identity;
  if (certificate->not_after < clock_.Now()) return HasExpired(identity);
  if (identity.federation != federation_) {
    return absl::PermissionDeniedError(
        fmt::format("{} is not of federation {}", Describe(identity), federation_));
  }
  if (!MayCall(identity.role, rpc)) {
    return absl::PermissionDeniedError(fmt::format("{} has the role {}, which may not call {}",
                                                   identity.name, RoleName(identity.role), rpc));
  }
  return Caller{.identity = identity, .certificate_expires = certificate->not_after};
}

}  // namespace fedtune
