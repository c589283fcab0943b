// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/contribution_upload.h"
#include "coordinator/rpc/open_calls.h"
#include "coordinator/rpc/open_streams.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune {

// One client's standing line: reads what it says, writes what it is told, one
// message at a time and in order. It ends when the client's certificate expires, within
// half a minute whatever clocks do, or is revoked (CertifiedStreams). Thread-safe; keeps itself
// alive until the call is over.
class SessionStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public ClientLine,
                            public StandingStream,
                            public std::enable_shared_from_this<SessionStream> {
 public:
  // `around` must outlive the call, for which `place` is kept.
  static SessionStream* Begin(const ContributionUpload::Surroundings& around, const Caller& caller,
                              grpc::CallbackServerContext& context, OpenStreams& streams,
                              OpenCalls::Place place);

  void Send(const ClientCommand& command) override;
  void Close(absl::Status reason) override;
  void Abandon(absl::Status reason) override;

 private:
  SessionStream(const ContributionUpload::Surroundings& around, const Caller& caller,
                grpc::CallbackServerContext& context, OpenCalls::Place place)
      : place_(std::move(place)),
        gateway_(around.gateway),
        timers_(around.timers),
        clock_(around.clock),
        caller_(caller),
        context_(context) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  absl::Status Take(const v1::ClientMessage& message);
  void SayHello(const v1::Hello& hello);
  void LookAtCertificate();
  void Leave();
  void ReadNext();
  void Enqueue(grpc::ByteBuffer message);
  // With mutex_ held.
  void WriteNext();
  void DropWaiting();

  const OpenCalls::Place place_;
  ClientGateway& gateway_;
  TimerQueue& timers_;
  const Clock& clock_;
  const Caller caller_;
  grpc::CallbackServerContext& context_;  // Until done_.
  std::shared_ptr<SessionStream> self_;   // Until OnDone().
  grpc::ByteBuffer incoming_;             // One read at a time.
  std::optional<ClientRecord> client_;    // Since its hello; written by reads only.

  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_;  // The first one is being written.
  bool writing_ = false;
  bool left_ = false;
  bool cancelling_ = false;
  bool finished_ = false;
  bool done_ = false;
  std::optional<grpc::Status> closing_;  // What to finish with.
};

}  // namespace fedtune
