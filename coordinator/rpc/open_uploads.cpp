// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/open_uploads.h"

#include "absl/status/status.h"

namespace fedtune {

void OpenUploads::Begin(const Institution& from, const RunId& run,
                        std::weak_ptr<StandingStream> upload) {
  std::shared_ptr<StandingStream> before;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(uploads_, [](const auto& known) { return known.second.expired(); });
    before = std::exchange(uploads_[{from, run}], std::move(upload)).lock();
  }
  if (before == nullptr) return;
  before->Close(absl::UnavailableError("another upload of this client to the run has begun"));
}

}  // namespace fedtune
