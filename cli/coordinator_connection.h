// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/configuration.h"
#include "cli/expiry_note.h"
#include "privacy/crypto/sha256.h"
#include "proto/fedtune/v1/administration.grpc.pb.h"
#include "rpc/stall_watch.h"

namespace fedtune {

// An administrator's line to the coordinator. Calls block. Every error says what
// to do: UNAVAILABLE names the address, UNAUTHENTICATED and PERMISSION_DENIED
// the certificate. What is for people in the answers may be shown as it is
// (PrintableText()). Thread-safe.
//
// A connection that is cut off without a word, as by a network that drops its packets or a
// machine that stands still, breaks off by itself: where nothing comes it is asked every 30
// seconds whether it stands, and given up 15 seconds later (ChannelOptions::asked_after).
class CoordinatorConnection {
 public:
  // INVALID_ARGUMENT: no coordinator is configured. Otherwise as
  // LoadCredentials() and Revocations::Open(). Nothing is sent yet.
  static absl::StatusOr<CoordinatorConnection> Open(const Configuration& configuration);

  absl::StatusOr<v1::RunStatus> StartRun(const v1::StartRunRequest& request) const;
  absl::StatusOr<v1::RunStatus> StopRun(const std::string& run_id, const std::string& reason) const;
  absl::StatusOr<v1::RunStatus> PauseRun(const std::string& run_id,
                                         const std::string& reason) const;
  absl::StatusOr<v1::RunStatus> ResumeRun(const std::string& run_id) const;
  absl::StatusOr<v1::RunStatus> RetryRun(const std::string& run_id) const;
  absl::StatusOr<v1::ListRunsResponse> ListRuns() const;
  absl::StatusOr<v1::GetRunResponse> GetRun(const std::string& run_id) const;
  absl::StatusOr<v1::ListClientsResponse> ListClients() const;
  absl::StatusOr<v1::ClientStatus> GetClient(const std::string& institution) const;
  absl::StatusOr<v1::ListModelsResponse> ListModels() const;

  // Calls `changed` with the run as it is and after every change, until the run
  // has ended. CANCELLED: `stop` was requested. UNAVAILABLE: the coordinator is not
  // there, shuts down, or has not said for that long how the run is, over a connection that
  // stands; later it may be silent for as long as nothing changes.
  absl::Status WatchRun(const std::string& run_id, const std::stop_token& stop,
                        const std::function<void(const v1::RunStatus&)>& changed,
                        absl::Duration longest_silence = kLongestSilence) const;

  // The coordinator's log from an entry on: calls `take` with each part, as it came, until that
  // says that it has enough, or the log's end. CANCELLED: `stop` was requested. OUT_OF_RANGE:
  // the log has fewer entries. UNIMPLEMENTED: the coordinator keeps none. DEADLINE_EXCEEDED:
  // nothing came for that long, over a connection that stands. Or an error of `take`.
  absl::Status ReadLog(uint64_t from, const std::stop_token& stop,
                       const std::function<absl::StatusOr<bool>(const v1::LogPart&)>& take,
                       absl::Duration longest_silence = kLongestSilence) const;

  // Lets so much time pass, or less if `stop` is requested, before a call is made again that
  // was UNAVAILABLE: it connects meanwhile.
  void WaitToAskAgain(absl::Duration time, const std::stop_token& stop = {}) const;

  // Goes on where it was when the line breaks off, for as long as that gets on. Requires that
  // memory has room for `size` bytes. DATA_LOSS: what came is not what was asked for.
  // DEADLINE_EXCEEDED: again and again nothing came for that long, over a connection that stands.
  absl::StatusOr<std::string> FetchBlob(const Digest& digest, uint64_t size,
                                        const std::function<void(double fraction)>& progress,
                                        absl::Duration longest_silence = kLongestSilence) const;

 private:
  using Stub = v1::Administration::Stub;

  template <typename Request, typename Response>
  using Rpc = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

  CoordinatorConnection(std::string address, std::shared_ptr<grpc::Channel> channel,
                        std::unique_ptr<ExpiryNote> note);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Rpc<Request, Response> rpc, const Request& request) const;

  // Of a download.
  struct Download {
    const Digest& digest;
    uint64_t size = 0;
    const std::function<void(double fraction)>& progress;
    absl::Duration longest_silence;
  };

  absl::Status ReadOn(const Download& download, std::string& blob) const;
  absl::Status Explain(const grpc::Status& status) const;
  absl::Status FellSilent(absl::Duration longest_silence) const;
  // As Explain(), of how a stream ended that `stop` may have ended.
  absl::Status ExplainEnd(const grpc::Status& end, const std::stop_token& stop) const;

  std::string address_;
  std::unique_ptr<ExpiryNote> note_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace fedtune
