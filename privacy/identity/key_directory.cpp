// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/key_directory.h"

#include <utility>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/identity/certificate_request.h"
#include "privacy/identity/private_key.h"
#include "privacy/identity/public_key.h"

namespace fedtune {
namespace {

std::string NextStep(const CredentialFiles& files, const std::filesystem::path& request,
                     const Identity& identity, const Digest& fingerprint) {
  const bool coordinator = identity.role == Role::kCoordinator;
  return fmt::format(
      "Send {request} to the custodian of federation {federation}, and tell them the key's "
      "fingerprint another way:\n"
      "  {fingerprint}\n"
      "They run:\n"
      "  fedtune-ca issue --dir DIR --request request.pem --role {role} --name {name}{host} "
      "--out certificate.pem\n"
      "Put what they send back in place:\n"
      "  {certificate:<{width}}   the certificate\n"
      "  {authority:<{width}}   the authority's certificate (ca.crt)\n",
      fmt::arg("request", request.string()), fmt::arg("federation", identity.federation),
      fmt::arg("fingerprint", fingerprint.ToString()), fmt::arg("role", RoleName(identity.role)),
      fmt::arg("name", identity.name), fmt::arg("host", coordinator ? " --host HOST" : ""),
      fmt::arg("certificate", files.certificate.string()),
      fmt::arg("authority", files.authority.string()),
      fmt::arg("width", files.certificate.string().size()));
}

// What to do when a file of `files` is not there.
absl::StatusOr<std::string> ReadIssued(const std::filesystem::path& path) {
  absl::StatusOr<std::string> content = ReadFile(path);
  if (absl::IsNotFound(content.status())) {
    return absl::NotFoundError(
        fmt::format("{} is missing; the custodian of the federation sends it in answer to "
                    "request.pem",
                    path.string()));
  }
  return content;
}

}  // namespace

CredentialFiles FilesIn(const std::filesystem::path& directory) {
  return {.key = directory / "key.pem",
          .certificate = directory / "certificate.pem",
          .authority = directory / "authority.pem"};
}

absl::StatusOr<KeyAndRequest> MakeKeyAndRequest(const std::filesystem::path& directory,
                                                const Identity& identity) {
  const CredentialFiles files = FilesIn(directory);
  const std::filesystem::path request_path = directory / "request.pem";
  const PrivateKey key = PrivateKey::Generate();
  ASSIGN_OR_RETURN(const std::string request, MakeCertificateRequest(key, identity));
  RETURN_IF_ERROR(MakeDirectories(directory));
  RETURN_IF_ERROR(key.SaveNew(files.key));
  RETURN_IF_ERROR(WriteFileAtomically(request_path, request));
  return KeyAndRequest{
      .key = files.key,
      .request = request_path,
      .next_step = NextStep(files, request_path, identity, KeyFingerprint(key.get()))};
}

absl::StatusOr<Credentials> LoadCredentials(const CredentialFiles& files, Role role,
                                            absl::Time now) {
  absl::StatusOr<PrivateKey> key = PrivateKey::Load(files.key);
  if (absl::IsNotFound(key.status())) {
    return Annotate(key.status(), "no key yet; make one with the command \"keys\"");
  }
  RETURN_IF_ERROR(key.status());
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

}  // namespace fedtune
