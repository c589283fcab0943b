// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "coordinator/rounds/names.h"
#include "coordinator/rpc/open_streams.h"

namespace fedtune {

// One upload of a client to a run at a time, since each takes its space on the disk
// before its bytes come. Thread-safe.
class OpenUploads {
 public:
  // Closes the upload that was under way before, with UNAVAILABLE: a client that begins
  // another one has lost its connection, or tries something.
  void Begin(const Institution& from, const RunId& run, std::weak_ptr<StandingStream> upload);

 private:
  std::mutex mutex_;
  std::map<std::pair<Institution, RunId>, std::weak_ptr<StandingStream>> uploads_;
};

}  // namespace fedtune
