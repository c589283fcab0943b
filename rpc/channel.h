// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/revocations.h"
#include "privacy/identity/seen_certificate.h"

namespace fedtune {

// Of a message that is no part of a blob: it may describe each linear layer of a base model,
// or of an adapter, with some 120 bytes. With the routed experts of DeepSeek-V3 that is 5 MB,
// with those of Kimi K2 8 MB.
inline constexpr int kMostBytesInMessage = 16 << 20;

struct ChannelOptions {
  std::string address;  // "host:port"
  CredentialFiles files;
  std::string federation;  // Of our own certificate.
  int most_message_bytes = kMostBytesInMessage;
  // Is told the coordinator's certificate with each connection; may be null.
  std::shared_ptr<SeenCertificate> coordinator = nullptr;
  // Null: no coordinator is revoked. Looked at anew with each connection.
  std::shared_ptr<Revocations> revocations = nullptr;
  // How long the line may be silent before it is asked whether it stands, again and
  // again: who drops it may tell nobody.
  absl::Duration asked_after = absl::Seconds(30);
};

// What is read from a connection at a time, at most. Left to itself gRPC makes room for
// as much as ever came at once, and an idle connection keeps that.
inline constexpr int kMostReadBytes = 64 << 10;

// Settings of a channel and of a server, by which it refuses compressed messages: nobody
// here sends any, and the limit above is of what comes, where 16 MB may become 16 GB.
inline constexpr std::pair<const char*, int> kNoCompression[] = {
    {GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0},
    {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE}};

// A connection over mutual TLS to the coordinator of our federation and to
// nobody else: its certificate must come from our authority, name
// "coordinator.fedtune", carry the identity of a coordinator and not be revoked. It is
// opened on first use. Renewed files are taken up without a restart.
//
// Requires: LoadCredentials() has found the files good.
std::shared_ptr<grpc::Channel> OpenChannel(const ChannelOptions& options);

// Lets so much time pass, or less if `stop` is requested, in which the channel can come to be
// connected again. Between calls that block nobody else reads what the other side says of a
// new connection, and until there is one each of them fails at once.
void WaitWhileItConnects(grpc::Channel& channel, absl::Duration time,
                         const std::stop_token& stop = {});

// The codes have the same numbers in both.
absl::Status StatusFromRpc(const grpc::Status& status);

// What a failed call says to people, with the connection's address.
absl::Status ExplainFailure(const absl::Status& status, std::string_view address);

// The same where the connection is why the call failed; what the coordinator itself
// has answered, also that something is to be tried again, stays as it is.
absl::Status ExplainLostConnection(const absl::Status& status, std::string_view address);

// Of what these two say: whether the connection broke off, maybe within the call, so that
// nobody knows whether it was heard.
bool BrokeOff(const absl::Status& explained);

// Keeps the RPC library's own lines out of our log, and its locks from watching in which
// order they are taken: as Debian builds them they would end the process at an order
// that differs, deadlock or not. Lets kMostReadBytes count, unless the environment has
// GRPC_EXPERIMENTS. Call it once, before all else.
void SetUpRpcLibrary();

}  // namespace fedtune
