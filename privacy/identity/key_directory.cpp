// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/key_directory.h"

#include <system_error>
#include <utility>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/private_file.h"
#include "privacy/identity/private_key.h"
#include "privacy/identity/public_key.h"

namespace fedtune {
namespace {

std::string NextStep(const CredentialFiles& files, const std::filesystem::path& request,
                     const Identity& identity, std::string_view fingerprints) {
  const bool coordinator = identity.role == Role::kCoordinator;
  return fmt::format(
      "Send {request} to the custodian of federation {federation}, and tell them the keys' "
      "fingerprints another way:\n"
      "{fingerprints}"
      "They run:\n"
      "  fedtune-ca issue --dir DIR --request request.pem --role {role} --name {name}{host} "
      "--out certificate.pem\n"
      "Put what they send back in place:\n"
      "  {certificate:<{width}}   the certificate\n"
      "  {authority:<{width}}   the authority's certificate (ca.crt)\n",
      fmt::arg("request", request.string()), fmt::arg("federation", identity.federation),
      fmt::arg("fingerprints", fingerprints), fmt::arg("role", RoleName(identity.role)),
      fmt::arg("name", identity.name), fmt::arg("host", coordinator ? " --host HOST" : ""),
      fmt::arg("certificate", files.certificate.string()),
      fmt::arg("authority", files.authority.string()),
      fmt::arg("width", files.certificate.string().size()));
}

// A key that is not on the disk yet, and what asks for its certificate.
struct NewKey {
  std::filesystem::path path;
  SecretBytes pem;
  std::string request;
  std::string fingerprint;  // A line for people.
};

NewKey MakeNewKey(const std::filesystem::path& path, SecretBytes pem, std::string request,
                  const EVP_PKEY* key) {
  return NewKey{.path = path,
                .pem = std::move(pem),
                .request = std::move(request),
                .fingerprint = fmt::format("  {}  {}\n", KeyFingerprint(key).ToString(),
                                           path.filename().string())};
}

absl::StatusOr<NewKey> MakeConnectionKey(const Identity& identity,
                                         const std::filesystem::path& path) {
  const PrivateKey key = PrivateKey::Generate();
  ASSIGN_OR_RETURN(std::string request, MakeCertificateRequest(key, identity));
  return MakeNewKey(path, key.ToPem(), std::move(request), key.get());
}

absl::StatusOr<NewKey> MakeSigningKey(Identity identity, CipherSuite suite,
                                      const std::filesystem::path& path) {
  identity.role = Role::kSigner;
  const SigningKey key = SigningKey::Generate(suite);
  ASSIGN_OR_RETURN(std::string request, MakeSigningRequest(key, identity));
  return MakeNewKey(path, key.ToPem(), std::move(request), key.get());
}

// The client's own request in the file of an earlier one; empty if there is none. A
// signing key that is made later is certified with it, in one file, as both are at first.
std::string ClientsRequest(const std::filesystem::path& file) {
  const std::string pem = ReadFile(file).value_or("");
  for (const std::string_view block : SplitPem(pem)) {
    const absl::StatusOr<CertificateRequest> request = CertificateRequest::Parse(block);
    if (request.ok() && request->identity().role == Role::kClient)
      return fmt::format("{}\n", block);
  }
  return "";
}

// Asked for all keys before the first is written, so that none is left alone. Where there is
// neither request nor certificate, whoever made the key was cut off.
absl::Status RefuseToOverwrite(const std::filesystem::path& path,
                               const std::filesystem::path& request,
                               const std::filesystem::path& certificate) {
  if (!std::filesystem::exists(path)) return absl::OkStatus();
  if (!std::filesystem::exists(request) && !std::filesystem::exists(certificate)) {
    return absl::AlreadyExistsError(
        fmt::format("{} exists, and neither {} nor {}: was its making cut off? Then nobody has "
                    "certified it; move it away and make the request again",
                    path.string(), request.filename().string(), certificate.filename().string()));
  }
  return absl::AlreadyExistsError(
      fmt::format("{} exists; a key is never overwritten, move it away first", path.string()));
}

// All of them or none: keys that nobody can ask a certificate for are in the way of others.
absl::Status WriteKeysAndRequest(const std::vector<NewKey>& keys,
                                 const std::filesystem::path& request, std::string_view content) {
  absl::Status status;
  size_t written = 0;
  while (status.ok() && written < keys.size()) {
    status = WriteNewPrivateFile(keys[written].path, keys[written].pem);
    if (status.ok()) ++written;
  }
  if (status.ok()) status = WriteFileAtomically(request, content);
  std::error_code ignored;
  for (size_t i = 0; !status.ok() && i < written; ++i) {
    std::filesystem::remove(keys[i].path, ignored);
  }
  return status;
}

// What to do when a file of `files` is not there.
absl::StatusOr<std::string> ReadIssued(const std::filesystem::path& path) {
  absl::StatusOr<std::string> content = ReadFile(path);
  if (absl::IsNotFound(content.status())) {
    return OfNamedFile(absl::NotFoundError(
        fmt::format("{} is missing; the custodian of the federation sends it in answer to "
                    "request.pem",
                    path.string())));
  }
  if (!content.ok()) return OfNamedFile(content.status());
  return content;
}

}  // namespace

CredentialFiles FilesIn(const std::filesystem::path& directory) {
  return {.key = directory / "key.pem",
          .certificate = directory / "certificate.pem",
          .authority = directory / "authority.pem",
          .signing_key = directory / "signing_key.pem",
          .signing_certificate = directory / "certificate.pem"};
}

absl::StatusOr<KeyAndRequest> MakeKeyAndRequest(const std::filesystem::path& directory,
                                                const Identity& identity, CipherSuite suite) {
  const CredentialFiles files = FilesIn(directory);
  const std::filesystem::path request_path = directory / "request.pem";
  std::vector<NewKey> keys;
  if (identity.role != Role::kSigner) {
    ASSIGN_OR_RETURN(NewKey key, MakeConnectionKey(identity, files.key));
    keys.push_back(std::move(key));
  }
  if (identity.role == Role::kClient || identity.role == Role::kSigner) {
    ASSIGN_OR_RETURN(NewKey key, MakeSigningKey(identity, suite, files.signing_key));
    keys.push_back(std::move(key));
  }
  RETURN_IF_ERROR(MakeDirectories(directory));
  for (const NewKey& key : keys)
    RETURN_IF_ERROR(RefuseToOverwrite(key.path, request_path, files.certificate));
  std::string requests = identity.role == Role::kSigner ? ClientsRequest(request_path) : "";
  Identity applicant = identity;
  if (!requests.empty()) applicant.role = Role::kClient;
  std::string fingerprints;
  for (const NewKey& key : keys) {
    requests += key.request;
    fingerprints += key.fingerprint;
  }
  RETURN_IF_ERROR(WriteKeysAndRequest(keys, request_path, requests));
  return KeyAndRequest{.key = keys.front().path,
                       .request = request_path,
                       .next_step = NextStep(files, request_path, applicant, fingerprints)};
}

absl::StatusOr<Credentials> LoadCredentials(const CredentialFiles& files, Role role,
                                            absl::Time now) {
  absl::StatusOr<PrivateKey> key = PrivateKey::Load(files.key);
  if (absl::IsNotFound(key.status())) {
    return OfNamedFile(Annotate(
        key.status(),
        fmt::format("no key yet; make one with \"fedtune-ca request --role {}\"", RoleName(role))));
  }
  RETURN_IF_ERROR(OfNamedFile(key.status()));
  ASSIGN_OR_RETURN(std::string pem, ReadIssued(files.certificate));
  ASSIGN_OR_RETURN(std::string authority_pem, ReadIssued(files.authority));
  RETURN_IF_ERROR(
      Annotate(ParseAuthorityCertificate(authority_pem).status(), files.authority.string()));
  absl::StatusOr<Certificate> certificate = CheckCertificate(pem, authority_pem, role, now);
  if (!certificate.ok()) return Annotate(certificate.status(), files.certificate.string());
  if (certificate->key_fingerprint != KeyFingerprint(key->get())) {
    return absl::InvalidArgumentError(
        fmt::format("{} is for another key than {}; use the certificate that was issued for this "
                    "key's request.pem",
                    files.certificate.string(), files.key.string()));
  }
  return Credentials{.key_pem = key->ToPem(),
                     .certificate_pem = std::move(pem),
                     .authority_pem = std::move(authority_pem),
                     .certificate = *std::move(certificate)};
}

absl::StatusOr<SigningCredentials> LoadSigningCredentials(const CredentialFiles& files,
                                                          absl::Time now) {
  const absl::StatusOr<SecretBytes> content = ReadPrivateFile(files.signing_key);
  if (absl::IsNotFound(content.status())) {
    return OfNamedFile(absl::NotFoundError(
        fmt::format("{} is missing; \"fedtune-ca request --role signer\" makes a signing key and a "
                    "request for its certificate",
                    files.signing_key.string())));
  }
  RETURN_IF_ERROR(OfNamedFile(content.status()));
  absl::StatusOr<SigningKey> key = SigningKey::ParsePem(content->RevealText());
  if (!key.ok()) return Annotate(key.status(), files.signing_key.string());
  const std::string source = files.signing_certificate.string();
  ASSIGN_OR_RETURN(const std::string bundle, ReadIssued(files.signing_certificate));
  ASSIGN_OR_RETURN(const std::string authority_pem, ReadIssued(files.authority));
  absl::StatusOr<std::string> pem = FindCertificate(bundle, Role::kSigner);
  if (!pem.ok()) return Annotate(pem.status(), source);
  absl::StatusOr<Certificate> certificate =
      CheckCertificate(*pem, authority_pem, Role::kSigner, now);
  if (!certificate.ok()) return Annotate(certificate.status(), source);
  if (certificate->key_fingerprint != KeyFingerprint(key->get())) {
    return absl::InvalidArgumentError(
        fmt::format("the signer's certificate in {} is for another key than {}", source,
                    files.signing_key.string()));
  }
  return SigningCredentials{.key = *std::move(key),
                            .certificate_pem = *std::move(pem),
                            .certificate = *std::move(certificate)};
}

}  // namespace fedtune
