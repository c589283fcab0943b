// SPDX-License-Identifier: Apache-2.0

#include "client/commands/site.h"

#include <system_error>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/private_file.h"

namespace fedtune {
namespace {

absl::Status CheckIsOurs(const ClientConfig& config, const Identity& identity,
                         const std::filesystem::path& certificate) {
  if (identity.name == config.institution) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: the certificate is for \"{}\", the configuration says institution = "
                  "\"{}\"; one of them is wrong",
                  certificate.string(), identity.name, config.institution));
}

// They are read again for each run, which a pipe cannot be.
absl::Status CheckIsFile(const std::filesystem::path& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type != std::filesystem::file_type::fifo && type != std::filesystem::file_type::character) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("cannot read {}: it is a pipe or a device; a file is needed", path.string()));
}

absl::StatusOr<int64_t> CountIn(const std::filesystem::path& file,
                                const ObserverOfFile& observer_of) {
  RETURN_IF_ERROR(CheckIsFile(file));
  const RecordTaker take_any = [](const DatasetRecord&) { return absl::OkStatus(); };
  const absl::StatusOr<DatasetReport> report = ReadDataset(file, take_any, observer_of(file));
  RETURN_IF_ERROR(OfNamedFile(report.status()));
  return report->used;
}

}  // namespace

absl::StatusOr<Policy> LoadPolicy(const ClientConfig& config) {
  if (config.policy.empty()) return Policy();
  const absl::StatusOr<std::string> toml = ReadFile(config.policy);
  RETURN_IF_ERROR(OfNamedFile(toml.status()));
  return ParsePolicy(*toml, config.policy.string());
}

absl::StatusOr<Credentials> LoadClientCredentials(const ClientConfig& config, absl::Time now) {
  ASSIGN_OR_RETURN(Credentials credentials,
                   LoadCredentials(config.credentials, Role::kClient, now));
  RETURN_IF_ERROR(
      CheckIsOurs(config, credentials.certificate.identity, config.credentials.certificate));
  return credentials;
}

absl::StatusOr<SigningCredentials> LoadClientSigner(const ClientConfig& config, absl::Time now) {
  ASSIGN_OR_RETURN(SigningCredentials signer, LoadSigningCredentials(config.credentials, now));
  RETURN_IF_ERROR(
      CheckIsOurs(config, signer.certificate.identity, config.credentials.signing_certificate));
  return signer;
}

std::filesystem::path SeenRosterFile(const ClientConfig& config) {
  return config.state_dir / "roster.json";
}

SeenLog SeenLogOf(const ClientConfig& config) {
  return {config.state_dir, config.credentials.authority};
}

std::filesystem::path SessionJournalFile(const ClientConfig& config) {
  return config.state_dir / "aggregations.db";
}

std::filesystem::path RoundFolder(const ClientConfig& config) {
  return config.state_dir / "rounds";
}

SecretBytes RoundKey(const Credentials& credentials) {
  return HkdfSha256(credentials.key_pem.Reveal(), {}, SpanOf("fedtune/rounds/1"), kAeadKeySize);
}

absl::StatusOr<std::vector<DatasetSize>> CountRecords(const ClientConfig& config,
                                                      const ObserverOfFile& observer_of) {
  if (config.datasets.empty()) {
    return absl::InvalidArgumentError(
        "no data set is configured; add [[datasets]] with name and train to client.toml");
  }
  std::vector<DatasetSize> sizes;
  for (const DatasetConfig& dataset : config.datasets) {
    ASSIGN_OR_RETURN(const int64_t count, CountIn(dataset.train, observer_of));
    // Without it every run would be declined.
    if (!dataset.eval.empty()) RETURN_IF_ERROR(CountIn(dataset.eval, observer_of).status());
    sizes.push_back({.name = dataset.name, .example_count = count});
  }
  return sizes;
}

LocalNames LocalNamesOf(const ClientConfig& config) {
  const CredentialFiles& files = config.credentials;
  std::vector<LocalNames::Name> names = {{config.state_dir, "state"},
                                         {config.policy, "policy"},
                                         {config.federation_key, "federation key"},
                                         {files.key, "key"},
                                         {files.certificate, "certificate"},
                                         {files.authority, "authority"},
                                         {files.signing_key, "signing key"},
                                         {files.signing_certificate, "signing certificate"}};
  for (const auto& folder : config.base_models) names.push_back({folder, "base model"});
  for (const DatasetConfig& dataset : config.datasets) {
    names.push_back({dataset.train, fmt::format("data set {}", dataset.name)});
    names.push_back({dataset.eval, fmt::format("data set {} (eval)", dataset.name)});
  }
  return LocalNames(std::move(names));
}

void HideSizes(const Policy& policy, std::vector<DatasetSize>& datasets) {
  if (policy.tell_record_counts) return;
  for (DatasetSize& dataset : datasets) dataset.example_count = 0;
}

absl::StatusOr<std::shared_ptr<const SecretBytes>> LoadFederationKey(const ClientConfig& config) {
  if (config.federation_key.empty()) return nullptr;
  const absl::StatusOr<SecretBytes> text = ReadPrivateFile(config.federation_key);
  RETURN_IF_ERROR(OfNamedFile(text.status()));
  std::string_view hex = text->RevealText();
  if (hex.ends_with('\n')) hex.remove_suffix(1);
  if (hex.ends_with('\r')) hex.remove_suffix(1);
  const absl::StatusOr<Digest> key = Digest::Parse(hex);
  if (!key.ok()) {
    // Not what is there: it may be a key.
    return absl::InvalidArgumentError(
        fmt::format("{} has no federation key: 64 hexadecimal digits are expected, as fedtune-ca "
                    "federation-key writes them",
                    config.federation_key.string()));
  }
  return std::make_shared<const SecretBytes>(
      std::vector<uint8_t>(key->bytes.begin(), key->bytes.end()));
}

}  // namespace fedtune
