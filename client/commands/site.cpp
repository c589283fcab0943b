// SPDX-License-Identifier: Apache-2.0

#include "client/commands/site.h"

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
  return absl::FailedPreconditionError(
      fmt::format("{}: the certificate is for \"{}\", the configuration says institution = "
                  "\"{}\"; one of them is wrong",
                  certificate.string(), identity.name, config.institution));
}

}  // namespace

absl::StatusOr<Policy> LoadPolicy(const ClientConfig& config) {
  if (config.policy.empty()) return Policy();
  ASSIGN_OR_RETURN(const std::string toml, ReadFile(config.policy));
  return ParsePolicy(toml, config.policy.string());
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
  const RecordTaker take_any = [](const DatasetRecord&) { return absl::OkStatus(); };
  std::vector<DatasetSize> sizes;
  for (const DatasetConfig& dataset : config.datasets) {
    ASSIGN_OR_RETURN(const DatasetReport report,
                     ReadDataset(dataset.train, take_any, observer_of(dataset.train)));
    sizes.push_back({.name = dataset.name, .example_count = report.used});
  }
  return sizes;
}

void HideSizes(const Policy& policy, std::vector<DatasetSize>& datasets) {
  if (policy.tell_record_counts) return;
  for (DatasetSize& dataset : datasets) dataset.example_count = 0;
}

absl::StatusOr<std::shared_ptr<const SecretBytes>> LoadFederationKey(const ClientConfig& config) {
  if (config.federation_key.empty()) return nullptr;
  ASSIGN_OR_RETURN(const SecretBytes text, ReadPrivateFile(config.federation_key));
  std::string_view hex = text.RevealText();
  if (hex.ends_with('\n')) hex.remove_suffix(1);
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
