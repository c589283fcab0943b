// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "privacy/identity/expiry.h"
#include "privacy/identity/seen_certificate.h"

namespace fedtune {

// At its end a warning, if the certificate that the coordinator has shown expires soon:
// whoever gives commands is likely to be who can do something about it.
class ExpiryNote {
 public:
  ExpiryNote() = default;
  ~ExpiryNote() {
    const absl::Time now = absl::Now();
    if (const auto shown = shown_->Get()) WarnOfExpiry(ExpiringSoon(std::vector{*shown}, now), now);
  }
  ExpiryNote(const ExpiryNote&) = delete;
  ExpiryNote& operator=(const ExpiryNote&) = delete;

  const std::shared_ptr<SeenCertificate>& shown() const { return shown_; }

 private:
  const std::shared_ptr<SeenCertificate> shown_ = std::make_shared<SeenCertificate>();
};

}  // namespace fedtune
