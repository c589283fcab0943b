// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/seen_certificate.h"

namespace fedtune {

// Warns in a daemon's log, at its start and then once a day, of certificates that expire
// soon (ExpiringSoon()). The files are read anew every minute, because they are renewed
// without a restart; what the other side shows is looked at once there is a connection.
// Thread-safe.
class ExpiryWatch {
 public:
  // `clock` and `log` must outlive it. What the other side shows is watched, too, where
  // there is one.
  ExpiryWatch(CredentialFiles files, std::shared_ptr<const SeenCertificate> other_side,
              const Clock& clock, Log& log);

  // Warns of what is due. Is called by itself, but for tests.
  void Look();

 private:
  void Work(const std::stop_token& stop);

  const CredentialFiles files_;
  const std::shared_ptr<const SeenCertificate> other_side_;
  const Clock& clock_;
  Log& log_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::map<std::string, absl::Duration> warned_;  // Whose certificate, and when.
  std::jthread thread_;                           // Last: it uses all of the above.
};

}  // namespace fedtune
