// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <optional>
#include <utility>

#include "privacy/identity/certificate.h"

namespace fedtune {

// What the other side of a connection has shown last. Thread-safe.
class SeenCertificate {
 public:
  void Set(Certificate certificate) {
    const std::lock_guard lock(mutex_);
    certificate_ = std::move(certificate);
  }

  // Nothing: no connection has come about yet.
  std::optional<Certificate> Get() const {
    const std::lock_guard lock(mutex_);
    return certificate_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Certificate> certificate_;
};

}  // namespace fedtune
