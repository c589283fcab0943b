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

  // How many there were, by whose they are.
  struct Ended {
    std::map<Identity, int> closed;
    std::map<Identity, int> abandoned;
  };

  // Closes the streams that `verdict` refuses, with what it says; those that were closed
  // so before and are still there, because nobody reads what was sent to them, are
  // abandoned. Each is told of once in what is returned.
  Ended EndRefused(const std::function<absl::Status(const std::string& serial,
                                                    const Identity& identity)>& verdict);

 private:
  struct Entry {
    std::string serial;
    Identity identity;
    std::weak_ptr<StandingStream> stream;
    int looks = 0;  // In which it was refused.
  };

  // With mutex_ held.
  void Forget();

  std::mutex mutex_;
  std::vector<Entry> entries_;  // With some that have ended.
  size_t forget_at_ = 64;       // When there are so many.
};

}  // namespace fedtune
