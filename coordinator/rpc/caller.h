// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "grpcpp/server_context.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// Who makes a call, from the certificate of the connection alone.
struct Caller {
  Identity identity;
  absl::Time certificate_expires;
};

// Which role may make which call: one table, and what is not in it is refused.
// Thread-safe.
class CallerCheck {
 public:
  // `federation` is the coordinator's own; `clock` must outlive the check.
  CallerCheck(std::string federation, const Clock& clock)
      : federation_(std::move(federation)), clock_(clock) {}

  // `rpc` is the full name of a call: "/fedtune.v1.Training/Session".
  //
  // UNAUTHENTICATED: no certificate of a member, or one that has expired since
  // the connection was made.
  // PERMISSION_DENIED: another federation, or a role that may not call this.
  absl::StatusOr<Caller> Check(const grpc::CallbackServerContext& context,
                               std::string_view rpc) const;

 private:
  // As ParseCertificate(), which takes longer than all else of a small call: every
  // call of a connection shows the same certificate.
  absl::StatusOr<Certificate> Read(std::string_view pem) const;

  const std::string federation_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Certificate, std::less<>> read_;  // By their PEM.
};

// UNAUTHENTICATED: the member's certificate has expired since the connection was made.
absl::Status HasExpired(const Identity& identity);

// Whether members of `role` may call `rpc`.
bool MayCall(Role role, std::string_view rpc);

}  // namespace fedtune
