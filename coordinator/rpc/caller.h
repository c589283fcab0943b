// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/rpc/certified_streams.h"
#include "grpcpp/server_context.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/identity.h"
#include "privacy/identity/revocations.h"

namespace fedtune {

// Who makes a call, from the certificate of the connection alone.
struct Caller {
  Identity identity;
  absl::Time certificate_expires;
  std::string serial = {};  // Of the certificate.
};

// Which role may make which call: one table, and what is not in it is refused.
// Calls, open or new, of whose certificate is revoked are, too. Thread-safe.
class CallerCheck {
 public:
  // `federation` is the coordinator's own; `revocations` may be null: nobody is revoked.
  // `clock` and `log` must outlive the check.
  CallerCheck(std::string federation, std::shared_ptr<const Revocations> revocations,
              const Clock& clock, Log& log)
      : federation_(std::move(federation)),
        revocations_(std::move(revocations)),
        clock_(clock),
        log_(log) {}

  // `rpc` is the full name of a call: "/fedtune.v1.Training/Session".
  //
  // UNAUTHENTICATED: no certificate of a member, one that has expired since the
  // connection was made, or one that is revoked, which the log says, too.
  // PERMISSION_DENIED: another federation, or a role that may not call this.
  absl::StatusOr<Caller> Check(const grpc::CallbackServerContext& context,
                               std::string_view rpc) const;

  // The stream is one of the caller's calls, which EndRevoked() is to end.
  void Watch(const Caller& caller, const std::shared_ptr<StandingStream>& stream) const;

  // Ends the streams whose callers are revoked, with UNAUTHENTICATED: to be called again
  // and again, which is what ends those that do not read.
  void EndRevoked() const;

 private:
  absl::Status CheckNotRevoked(const Certificate& certificate, std::string_view peer) const;
  // As ParseCertificate(), which takes longer than all else of a small call: every
  // call of a connection shows the same certificate.
  absl::StatusOr<Certificate> Read(std::string_view pem) const;

  const std::string federation_;
  const std::shared_ptr<const Revocations> revocations_;
  const Clock& clock_;
  Log& log_;
  mutable CertifiedStreams streams_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Certificate, std::less<>> read_;  // By their PEM.
  mutable std::map<std::string, absl::Duration> told_;            // Of revoked serials, and when.
};

// UNAUTHENTICATED: the member's certificate has expired since the connection was made.
absl::Status HasExpired(const Identity& identity);

// Whether members of `role` may call `rpc`.
bool MayCall(Role role, std::string_view rpc);

}  // namespace fedtune
