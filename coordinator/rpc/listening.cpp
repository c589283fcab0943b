// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/listening.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "grpcpp/server_builder.h"
#include "rpc/channel.h"

namespace fedtune {
namespace {

constexpr int kMaxMessageBytes = kMostBytesInMessage + (64 << 10);
constexpr size_t kMemoryQuotaBytes = size_t{512} << 20;

// In milliseconds, as gRPC counts.
constexpr int kSecond = 1'000;
constexpr int kMinute = 60 * kSecond;
constexpr int kHour = 60 * kMinute;

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  grpc::ResourceQuota quota("fedtune");
  builder.SetResourceQuota(quota.Resize(kMemoryQuotaBytes));
  const std::pair<const char*, int> arguments[] = {
      {GRPC_ARG_MAX_METADATA_SIZE, 8 << 10},
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, 16},
      {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10 * kSecond},
      {GRPC_ARG_KEEPALIVE_TIME_MS, kMinute},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20 * kSecond},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20 * kSecond},
      {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2},
      // A connection without a call. Clients hold one open.
      {GRPC_ARG_MAX_CONNECTION_IDLE_MS, 5 * kMinute},
      // A certificate is looked at again at least this often.
      {GRPC_ARG_MAX_CONNECTION_AGE_MS, kHour},
      {GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 15 * kMinute},
      // Two coordinators on one port would share its clients.
      {GRPC_ARG_ALLOW_REUSEPORT, 0},
      // The default of 16 KiB costs a quarter of the speed.
      {GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20},
      // What an upload may have on its way. Left to itself gRPC takes ever more
      // while the coordinator is busy, up to the quota.
      {GRPC_ARG_HTTP2_BDP_PROBE, 0},
      {GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20},
      {GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kMostReadBytes},
  };
  for (const auto& [name, value] : arguments) builder.AddChannelArgument(name, value);
  for (const auto& [name, value] : kNoCompression) builder.AddChannelArgument(name, value);
}

std::shared_ptr<grpc::ServerCredentials> MutualTls(const ListeningOptions& options) {
  const CredentialFiles& files = options.credentials;
  const auto seconds = std::max<int64_t>(absl::ToInt64Seconds(options.reload_interval), 1);
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      files.key.string(), files.certificate.string(), files.authority.string(),
      static_cast<unsigned>(seconds));
  grpc::experimental::TlsServerCredentialsOptions tls(provider);
  tls.watch_root_certs();
  tls.watch_identity_key_cert_pairs();
  tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace

absl::StatusOr<Listening> Listen(const ListeningOptions& options,
                                 const std::vector<grpc::Service*>& services, Log& log) {
  using Connections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  Listening listening;
  ASSIGN_OR_RETURN(listening.acceptor, ConnectionAcceptor::Bind(options.address));
  grpc::ServerBuilder builder;
  SetLimits(builder);
  auto connections = builder.experimental().AddExternalConnectionAcceptor(Connections::FROM_FD,
                                                                          MutualTls(options));
  for (grpc::Service* service : services) builder.RegisterService(service);
  listening.server = builder.BuildAndStart();
  if (listening.server == nullptr) {
    return absl::UnavailableError(fmt::format("cannot listen on {}", options.address));
  }
  listening.acceptor->HandTo(std::move(connections), OriginLimit(options.connections_per_address),
                             log);
  return listening;
}

}  // namespace fedtune
