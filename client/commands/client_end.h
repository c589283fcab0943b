// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <stop_token>
#include <utility>

#include "absl/status/status.h"

namespace fedtune {

// When a client ends and how: well, when it is asked to, or because it cannot go on.
// Thread-safe.
class ClientEnd {
 public:
  // `asked` is stopped when it is to end well.
  explicit ClientEnd(std::stop_token asked) : asked_(std::move(asked), RequestStop{source_}) {}

  // It cannot go on. The first reason counts.
  void Fail(const absl::Status& why);

  // Is stopped when it is to end.
  std::stop_token token() const { return source_.get_token(); }

  // Why it cannot go on, for ExitCode::kFailed; OK: it can, or was asked to end first.
  absl::Status status() const;

 private:
  struct RequestStop {
    std::stop_source& source;
    void operator()() { source.request_stop(); }
  };

  std::stop_source source_;
  mutable std::mutex mutex_;
  absl::Status why_;                       // Guarded by mutex_.
  std::stop_callback<RequestStop> asked_;  // Last: ends first.
};

}  // namespace fedtune
