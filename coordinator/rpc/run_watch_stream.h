// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "coordinator/driver/run_administration.h"
#include "coordinator/driver/run_watchers.h"
#include "coordinator/rpc/open_streams.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// Sends a run as it is, then again after each change, until it has ended.
// Changes during a write are told by the next one. Thread-safe; keeps itself
// alive until the call is over.
class RunWatchStream final : public grpc::ServerWriteReactor<v1::RunStatus>,
                             public RunWatcher,
                             public StandingStream,
                             public std::enable_shared_from_this<RunWatchStream> {
 public:
  // `runs` must outlive the call.
  static RunWatchStream* Begin(const RunAdministration& runs, RunId run,
                               grpc::CallbackServerContext& context, OpenStreams& streams);

  void RunChanged() override;
  void Close(absl::Status reason) override;
  void Abandon(absl::Status reason) override;

 private:
  RunWatchStream(const RunAdministration& runs, RunId run, grpc::CallbackServerContext& context)
      : runs_(runs), run_(std::move(run)), context_(context) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // With mutex_ held.
  void WriteStatus();
  void End(const grpc::Status& status);

  const RunAdministration& runs_;
  const RunId run_;
  grpc::CallbackServerContext& context_;  // Until done_.
  std::shared_ptr<RunWatchStream> self_;  // Until OnDone().

  std::mutex mutex_;
  v1::RunStatus status_;
  bool writing_ = false;
  bool changed_ = false;                 // Since the status that is being written.
  bool told_end_ = false;                // The status being written is the last one.
  std::optional<grpc::Status> closing_;  // What to finish with.
  bool finished_ = false;
  bool done_ = false;
};

}  // namespace fedtune
