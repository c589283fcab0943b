// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/logging.h"
#include "privacy/identity/revocations.h"

namespace fedtune {

// Keeps the list of revoked certificates of a daemon up to date, and the copy of it, and says in
// its log which one is in use, and once why another is not taken. Thread-safe.
class RevocationWatch {
 public:
  static constexpr absl::Duration kLooksEvery = absl::Seconds(10);

  // `log` must outlive it. `looked` is told, on a thread of the watch, each time the file
  // has been looked at, also if nothing has changed; the watch ends after it.
  RevocationWatch(std::shared_ptr<Revocations> revocations, Log& log, std::function<void()> looked,
                  absl::Duration every = kLooksEvery);

  // Looks at the file. Is called by itself, but for tests.
  void Look();

 private:
  void Work(const std::stop_token& stop);
  // With mutex_ held.
  void Tell(const absl::Status& refreshed);
  void TellWhatIsInUse();
  void Keep();

  const std::shared_ptr<Revocations> revocations_;
  Log& log_;
  const std::function<void()> looked_;
  const absl::Duration every_;
  std::mutex mutex_;
  std::string refusal_;             // What the log has said last; empty: nothing is wrong.
  std::string failure_;             // Why the list cannot be kept, likewise.
  std::optional<uint64_t> in_use_;  // The list that the log has named last.
  std::condition_variable_any wake_;
  std::jthread thread_;  // Last: it uses all of the above.
};

}  // namespace fedtune
