// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/files.h"
#include "base/status.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/private_key.h"
#include "privacy/identity/revocation_list.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune::testing {

// A member's proof of who it is, in PEM.
struct MemberKeys {
  std::string key;
  std::string certificate;
};

// A federation with an authority of its own, for tests that speak real TLS.
class TestFederation {
 public:
  explicit TestFederation(std::string name = "north")
      : name_(std::move(name)), authority_(MakeAuthority(name_)) {}

  const std::string& name() const { return name_; }
  std::string authority_pem() const { return authority_.ToPem(); }

  // A certificate that is good from `issued` on, for an hour.
  MemberKeys Issue(Role role, std::string_view member, absl::Time issued = absl::Now()) const {
    const PrivateKey key = PrivateKey::Generate();
    const Identity identity{.federation = name_, .role = role, .name = std::string(member)};
    const auto request = CertificateRequest::Parse(*MakeCertificateRequest(key, identity));
    const auto certificate = authority_.Issue(
        *request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(1)}, issued);
    Check(certificate.ok(), Message(certificate.status()));
    const SecretBytes pem = key.ToPem();
    const auto bytes = pem.Reveal();
    return {.key = {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
            .certificate = *certificate};
  }

  // Writes a member's key and certificates into `directory`.
  CredentialFiles WriteCredentials(const std::filesystem::path& directory, Role role,
                                   std::string_view member) const {
    const MemberKeys keys = Issue(role, member);
    CredentialFiles files = FilesIn(directory);
    Write(files.key, keys.key);
    Write(files.certificate, keys.certificate);
    Write(files.authority, authority_pem());
    std::filesystem::permissions(files.key, std::filesystem::perms::owner_read);
    return files;
  }

  // A connection of its own to the coordinator on this machine's `port`.
  std::shared_ptr<grpc::Channel> Connect(int port, const MemberKeys& keys) const {
    return Connect(port, grpc::SslCredentials({.pem_root_certs = authority_pem(),
                                               .pem_private_key = keys.key,
                                               .pem_cert_chain = keys.certificate}));
  }

  std::shared_ptr<grpc::Channel> ConnectWithoutCertificate(int port) const {
    return Connect(port, grpc::SslCredentials({.pem_root_certs = authority_pem(),
                                               .pem_private_key = "",
                                               .pem_cert_chain = ""}));
  }

  std::string SignRevocations(const RevocationContent& content) const {
    return authority_.SignRevocations(content);
  }

  // A roster of these signing keys, numbered from 1.
  SigningRoster SignRoster(const std::map<std::string, std::shared_ptr<const SigningKey>>& keys,
                           absl::Time now = absl::Now()) const {
    RosterContent content{.federation = name_,
                          .version = 1,
                          .signed_at = absl::FromUnixSeconds(absl::ToUnixSeconds(now)),
                          .entries = {}};
    for (const auto& [institution, key] : keys) {
      content.entries.push_back({.number = static_cast<uint32_t>(content.entries.size() + 1),
                                 .institution = institution,
                                 .suite = key->suite(),
                                 .public_key = key->public_key()});
    }
    const auto signer = SigningKey::ParsePem(authority_.key().ToPem().RevealText());
    const auto text = fedtune::SignRoster(content, *signer);
    Check(text.ok(), Message(text.status()));
    auto roster = SigningRoster::Verify(*text, authority_pem(), now);
    Check(roster.ok(), Message(roster.status()));
    return *std::move(roster);
  }

 private:
  static CertificateAuthority MakeAuthority(const std::string& name) {
    auto authority = CertificateAuthority::Create(name, absl::Hours(24 * 365),
                                                  absl::Now() - absl::Hours(24 * 30));
    Check(authority.ok(), Message(authority.status()));
    return *std::move(authority);
  }

  static void Write(const std::filesystem::path& path, std::string_view content) {
    const absl::Status made = MakeDirectories(path.parent_path());
    Check(made.ok(), Message(made));
    const absl::Status written = WriteFileAtomically(path, content);
    Check(written.ok(), Message(written));
  }

  static std::shared_ptr<grpc::Channel> Connect(
      int port, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(kCoordinatorHost);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), credentials, arguments);
  }

  const std::string name_;
  const CertificateAuthority authority_;
};

}  // namespace fedtune::testing
