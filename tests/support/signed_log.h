// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "cli/log_file.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_hasher.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/certificate_request.h"

namespace fedtune::testing {

// A coordinator's log, for tests. A copy is of the same coordinator, and goes on by itself:
// so does a log with two faces.
class SignedLog {
 public:
  explicit SignedLog(std::string_view federation = "north")
      : authority_(std::make_shared<CertificateAuthority>(NewAuthority(federation))),
        key_(std::make_shared<PrivateKey>(PrivateKey::Generate())) {
    const Identity identity = {
        .federation = std::string(federation), .role = Role::kCoordinator, .name = "hub"};
    const auto request = CertificateRequest::Parse(*MakeCertificateRequest(*key_, identity));
    const auto certificate = authority_->Issue(
        *request, {.identity = identity, .hosts = {}, .valid_for = absl::Hours(24)}, kBegin);
    Check(certificate.ok(), Message(certificate.status()));
    certificate_ = *certificate;
    federation_ = federation;
  }

  // A second after the entry before.
  void Add(const LogEvent& event) {
    entries.push_back(WriteLogEntry({.at = now, .event = event}));
    now += absl::Seconds(1);
  }

  std::string authority_pem() const { return authority_->ToPem(); }

  SignedCheckpoint Sign(const LogHead& head) const {
    const SecretBytes pem = key_->ToPem();
    return {.note = SignCheckpoint({.federation = federation_, .head = head},
                                   *SigningKey::ParsePem(pem.RevealText())),
            .certificate_pem = certificate_};
  }

  LogHead head(size_t size) const {
    LogHasher hasher;
    for (size_t i = 0; i < size; ++i) hasher.Add(entries.at(i));
    return hasher.head();
  }

  // Of the first so many entries.
  SignedCheckpoint checkpoint(size_t size) const { return Sign(head(size)); }
  SignedCheckpoint checkpoint() const { return checkpoint(entries.size()); }

  // As it is pulled, with this checkpoint.
  std::string FileText(const SignedCheckpoint& checkpoint) const {
    std::string text = LogFileHeader(checkpoint);
    for (const std::string& entry : entries) text += entry + "\n";
    return text;
  }
  std::string FileText() const { return FileText(checkpoint()); }

  std::vector<std::string> entries;
  absl::Time now = kBegin;

 private:
  static inline const absl::Time kBegin = absl::FromUnixSeconds(1'800'000'000);

  static CertificateAuthority NewAuthority(std::string_view federation) {
    auto authority = CertificateAuthority::Create(federation, absl::Hours(24 * 365), kBegin);
    Check(authority.ok(), Message(authority.status()));
    return *std::move(authority);
  }

  std::string federation_;
  std::shared_ptr<const CertificateAuthority> authority_;
  std::shared_ptr<const PrivateKey> key_;
  std::string certificate_;
};

// Begins a log, and adds a run of so many rounds to which two institutions contribute.
inline void BeginLog(SignedLog& log) { log.Add(LogBegun{.id = "5eed"}); }

inline Digest AdapterAfter(int64_t rounds, std::string_view run) {
  return Sha256Of(std::string(run) + std::to_string(rounds));
}

inline void AddRun(SignedLog& log, const std::string& run, int64_t rounds) {
  log.Add(RunStarted{.run = run,
                     .plan = Sha256Of("name = \"icd10\""),
                     .layout = Sha256Of("{\"modules\": []}"),
                     .base_digest = "sha256:ab",
                     .adapter = AdapterAfter(0, run),
                     .started_by = "ada"});
  for (int64_t round = 0; round < rounds; ++round) {
    log.Add(
        RoundOpened{.run = run, .round = round, .attempt = 1, .adapter = AdapterAfter(round, run)});
    for (const char* institution : {"st-anna", "uke"}) {
      log.Add(ContributionCounted{.run = run,
                                  .round = round,
                                  .institution = institution,
                                  .contribution = Sha256Of(institution)});
    }
    log.Add(RoundReleased{.run = run,
                          .round = round,
                          .attempt = 1,
                          .contributions = 2,
                          .adapter = AdapterAfter(round + 1, run),
                          .burnt = ""});
  }
  log.Add(RunClosed{.run = run, .state = "finished", .reason = ""});
}

}  // namespace fedtune::testing
