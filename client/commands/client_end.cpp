// SPDX-License-Identifier: Apache-2.0

#include "client/commands/client_end.h"

#include "base/exit_code.h"

namespace fedtune {

void ClientEnd::Fail(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (source_.request_stop()) why_ = why;
}

absl::Status ClientEnd::status() const {
  const std::lock_guard lock(mutex_);
  return why_.ok() ? why_ : WithExitCode(why_, ExitCode::kFailed);
}

}  // namespace fedtune
