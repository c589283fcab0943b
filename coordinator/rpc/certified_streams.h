// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/rpc/open_streams.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// The streaming calls of a server by whose certificate they were begun, so that those end
// whose certificate is not good any more. Thread-safe.
class CertifiedStreams {
 public:
  // `serial` is that of the certificate, which `identity` has.
  void Add(const std::string& serial, const Identity& identity,
           const std::shared_ptr<StandingStream>& stream);

  // Closes the streams that `verdict` refuses, with what it says; those that were closed
  // so before and are still there, because nobody reads what was sent to them, are
  // abandoned. Returns how many were closed now, by whose they are.
  std::map<Identity, int> EndRefused(
      const std::function<absl::Status(const std::string& serial, const Identity& identity)>&
          verdict);

 private:
  struct Entry {
    std::string serial;
    Identity identity;
    std::weak_ptr<StandingStream> stream;
    bool closed = false;
  };

  // With mutex_ held.
  void Forget();

  std::mutex mutex_;
  std::vector<Entry> entries_;  // With some that have ended.
  size_t forget_at_ = 64;       // When there are so many.
};

}  // namespace fedtune
