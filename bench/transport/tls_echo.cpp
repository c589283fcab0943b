// SPDX-License-Identifier: Apache-2.0

// What the same bytes cost over TLS 1.3 with nothing around it: OpenSSL on sockets.

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "bench/transport/limits.h"
#include "bench/transport/sockets.h"

namespace fedtune::bench {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;
constexpr long kSecondsOfADay = 24 * 3600;

template <typename T, void (*Free)(T*)>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Freer<SSL_CTX, SSL_CTX_free>>;
using Tls = std::unique_ptr<SSL, Freer<SSL, SSL_free>>;

// The server proves itself by a certificate that nobody looks at.
Context MakeServerContext() {
  const Key key(::EVP_EC_gen("P-256"));
  const Certificate certificate(::X509_new());
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate.get()), 0);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate.get()), kSecondsOfADay);
  ::X509_set_pubkey(certificate.get(), key.get());
  Check(::X509_sign(certificate.get(), key.get(), ::EVP_sha256()) > 0, "a certificate is signed");
  Context context(::SSL_CTX_new(::TLS_server_method()));
  Check(::SSL_CTX_use_certificate(context.get(), certificate.get()) == 1 &&
            ::SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1,
        "a certificate fits its key");
  return context;
}

Context MakeClientContext() {
  Context context(::SSL_CTX_new(::TLS_client_method()));
  ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  return context;
}

Tls Open(SSL_CTX* context, int socket) {
  Tls tls(::SSL_new(context));
  ::SSL_set_fd(tls.get(), socket);
  Check(::SSL_set_ciphersuites(tls.get(), "TLS_AES_256_GCM_SHA384") == 1, "the suite is known");
  return tls;
}

// Both ends of a connection over loopback whose handshake is done.
class TlsConnection {
 public:
  TlsConnection(SSL_CTX* server_context, SSL_CTX* client_context)
      : server_(Open(server_context, sockets_.server)),
        client_(Open(client_context, sockets_.client)) {
    const std::jthread server(
        [this] { Check(::SSL_accept(server_.get()) == 1, "a handshake over loopback"); });
    Check(::SSL_connect(client_.get()) == 1, "a handshake over loopback");
  }

  SSL* server() const { return server_.get(); }
  SSL* client() const { return client_.get(); }

 private:
  const Connection sockets_;
  const Tls server_;
  const Tls client_;
};

void Send(SSL* tls, size_t bytes) {
  const std::vector<char> buffer(kBuffer, 1);
  while (bytes > 0) {
    const int sent =
        ::SSL_write(tls, buffer.data(), static_cast<int>(std::min(bytes, buffer.size())));
    Check(sent > 0, "a connection over loopback broke");
    bytes -= static_cast<size_t>(sent);
  }
}

void Receive(SSL* tls, size_t bytes) {
  std::vector<char> buffer(kBuffer);
  while (bytes > 0) {
    const int received =
        ::SSL_read(tls, buffer.data(), static_cast<int>(std::min(bytes, buffer.size())));
    Check(received > 0, "a connection over loopback broke");
    bytes -= static_cast<size_t>(received);
  }
}

}  // namespace

absl::Duration TlsEchoTime(int clients, size_t bytes) {
  const Context server_context = MakeServerContext();
  const Context client_context = MakeClientContext();
  std::vector<std::unique_ptr<TlsConnection>> connections;
  for (int i = 0; i < clients; ++i) {
    connections.push_back(
        std::make_unique<TlsConnection>(server_context.get(), client_context.get()));
  }
  const absl::Time start = absl::Now();
  {
    std::vector<std::jthread> threads;
    for (const auto& connection : connections) {
      threads.emplace_back([&connection, bytes] {
        Send(connection->server(), bytes);
        Receive(connection->server(), bytes);
      });
      threads.emplace_back([&connection, bytes] {
        Receive(connection->client(), bytes);
        Send(connection->client(), bytes);
      });
    }
  }
  return absl::Now() - start;
}

}  // namespace fedtune::bench
