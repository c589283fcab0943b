// SPDX-License-Identifier: Apache-2.0

#include "rpc/channel.h"

#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/identity/identity.h"

namespace fedtune {
namespace {

// How soon whoever waits notices that it is to stop.
constexpr absl::Duration kStopsWithin = absl::Milliseconds(100);

// How often the files are looked at for a renewed certificate.
constexpr unsigned kRefreshSeconds = 60;

using VerificationRequest = grpc::experimental::TlsCustomVerificationCheckRequest;

std::string_view ToView(grpc::string_ref text) { return {text.data(), text.size()}; }

// Asks, after the certificate's chain has been verified, who the other side is.
class CoordinatorVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  explicit CoordinatorVerifier(const ChannelOptions& options)
      : federation_(options.federation),
        seen_(options.coordinator),
        revocations_(options.revocations) {}

  bool Verify(VerificationRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const absl::Status verdict = CheckPeer(*request);
    if (!verdict.ok()) {
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, std::string(Message(verdict)));
    } else if (seen_ != nullptr) {
      absl::StatusOr<Certificate> shown = ParseCertificate(ToView(request->peer_cert()));
      if (shown.ok()) seen_->Set(*std::move(shown));
    }
    return true;
  }

  void Cancel(VerificationRequest*) override {}

 private:
  absl::Status CheckPeer(const VerificationRequest& request) const {
    const std::vector<grpc::string_ref> names = request.uri_names();
    if (names.size() != 1) {
      return absl::UnauthenticatedError("the other side's certificate carries no identity");
    }
    ASSIGN_OR_RETURN(const Identity peer, ParseIdentityUri(ToView(names[0])));
    if (peer.role == Role::kCoordinator && peer.federation == federation_) {
      return CheckNotRevoked(request);
    }
    return absl::UnauthenticatedError(fmt::format(
        "the other side is {}, not the coordinator of federation {}", Describe(peer), federation_));
  }

  // By the newest list: where another is not taken, a daemon's log says so.
  absl::Status CheckNotRevoked(const VerificationRequest& request) const {
    if (revocations_ == nullptr) return absl::OkStatus();
    revocations_->Refresh().IgnoreError();
    const absl::StatusOr<Certificate> shown = ParseCertificate(ToView(request.peer_cert()));
    const absl::Status verdict =
        shown.ok() ? revocations_->CheckNotRevoked(*shown) : shown.status();
    if (verdict.ok()) return verdict;
    return absl::UnauthenticatedError(
        fmt::format("the other side is not to be believed: {}", Message(verdict)));
  }

  const std::string federation_;
  const std::shared_ptr<SeenCertificate> seen_;
  const std::shared_ptr<Revocations> revocations_;
};

std::shared_ptr<grpc::ChannelCredentials> MutualTls(const ChannelOptions& options) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(
      options.files.key.string(), options.files.certificate.string(),
      options.files.authority.string(), kRefreshSeconds));
  tls.watch_root_certs();
  tls.watch_identity_key_cert_pairs();
  tls.set_certificate_verifier(
      grpc::experimental::ExternalCertificateVerifier::Create<CoordinatorVerifier>(options));
  return grpc::experimental::TlsCredentials(tls);
}

constexpr std::string_view kBrokeOff =
    "the connection broke off; if it does so each time, the coordinator refuses this certificate: "
    "has it expired, or is it not valid yet, by the coordinator's clock?";
constexpr std::string_view kFellSilent =
    "nothing comes over the connection any more: is the line cut, or does the coordinator stand "
    "still?";
constexpr std::string_view kNoCoordinator =
    "what listens there does not answer as a coordinator does: does the coordinator stand still, "
    "or "
    "is it another program?";

// What people can do something about, of what the RPC library says.
std::string_view WhyUnreachable(std::string_view message) {
  constexpr std::pair<std::string_view, std::string_view> kCauses[] = {
      {"Failed to create security handshaker",
       "this side's certificate cannot be shown: is the file of it, of its key or of the "
       "authority's certificate cut short, or of another key?"},
      {"Connection refused", "nobody listens there; is it running?"},
      {"DNS resolution failed", "there is no host of this name"},
      {"No route to host", "there is no way to this host"},
      {"Network is unreachable", "this machine has no network"},
      {"keepalive watchdog timeout", kFellSilent},
      {"imeout", "there is no answer; does a firewall stop it?"},
      {"Handshake read failed", kNoCoordinator},
      {"SETTINGS frame", kNoCoordinator},  // That did not come after the handshake.
      {"wrong version number", "what listens there is another program; is it the right port?"},
      {"Connection reset", kBrokeOff},
      {"Socket closed", kBrokeOff},
      {"Broken pipe", kBrokeOff},
  };
  for (const auto& [words, cause] : kCauses) {
    if (message.find(words) != std::string_view::npos) return cause;
  }
  return message;
}

// The RPC library goes by way of a proxy where the environment names one.
std::string ByWayOf() {
  for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    return fmt::format(
        " (the way there is by the proxy that {} names, unless no_proxy names the host)", name);
  }
  return "";
}

bool Mentions(const absl::Status& status, std::string_view words) {
  return Message(status).find(words) != std::string_view::npos;
}

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kCoordinatorHost);
  // Else a channel would go on with the connection of another to the same address.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(options.most_message_bytes);
  const auto asked_after_ms = static_cast<int>(absl::ToInt64Milliseconds(options.asked_after));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, asked_after_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, asked_after_ms / 2);
  // Any number: by default two, until there is something to be sent.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // What is downloaded comes in frames of up to so many bytes; the default of 16 KiB
  // costs a quarter of the speed.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  // The probe that lets windows follow the line stays on, though it costs processor time:
  // without it a line with latency carries little more than one message in a round trip.
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4 << 20);
  arguments.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kMostReadBytes);
  for (const auto& [name, value] : kNoCompression) arguments.SetInt(name, value);
  return grpc::CreateCustomChannel(options.address, MutualTls(options), arguments);
}

void WaitWhileItConnects(grpc::Channel& channel, absl::Duration time, const std::stop_token& stop) {
  const SystemClock clock;
  const absl::Duration end = clock.Monotonic() + time;
  while (!stop.stop_requested()) {
    const absl::Duration left = end - clock.Monotonic();
    if (left <= absl::ZeroDuration()) return;
    const grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    const absl::Time until = clock.Now() + std::min(left, kStopsWithin);
    channel.WaitForStateChange(state, absl::ToChronoTime(until));
  }
}

absl::Status StatusFromRpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      PrintableLines(status.error_message()));
}

absl::Status ExplainFailure(const absl::Status& status, std::string_view address) {
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(fmt::format(
        "the coordinator at {} does not answer in time: does it stand still, or is the line too "
        "slow?{}",
        address, ByWayOf()));
  }
  if (!absl::IsUnavailable(status)) return status;
  if (const size_t at = Message(status).find("the other side"); at != std::string_view::npos) {
    return absl::UnauthenticatedError(fmt::format("{}: {}", address, Message(status).substr(at)));
  }
  if (Mentions(status, "CERTIFICATE_VERIFY_FAILED") ||
      Mentions(status, "certificate verify failed")) {
    return absl::UnauthenticatedError(fmt::format(
        "{}: its certificate is not good for this federation: another authority's, expired, or not "
        "valid yet by this machine's clock",
        address));
  }
  return absl::UnavailableError(fmt::format("cannot reach the coordinator at {}: {}{}", address,
                                            WhyUnreachable(Message(status)), ByWayOf()));
}

bool BrokeOff(const absl::Status& explained) {
  return Mentions(explained, kBrokeOff) || Mentions(explained, kFellSilent);
}

absl::Status ExplainLostConnection(const absl::Status& status, std::string_view address) {
  const bool is_answer = WhyUnreachable(Message(status)) == Message(status);
  return is_answer ? status : ExplainFailure(status, address);
}

void SetUpRpcLibrary() {
  // Else it takes no notice of kMostReadBytes.
  ::setenv("GRPC_EXPERIMENTS", "-tcp_read_chunks", 0);
  gpr_set_log_function([](gpr_log_func_args*) {});
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace fedtune
