// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// The files by which a program proves who it is. They usually lie in one folder,
// under the names that FilesIn() gives.
struct CredentialFiles {
  std::filesystem::path key;          // Never leaves the machine.
  std::filesystem::path certificate;  // What the authority issued.
  std::filesystem::path authority;    // The authority's certificate.

  // An institution's besides, for secure rounds. The custodian sends the
  // certificates of client and signer in one file; both names may be that one.
  std::filesystem::path signing_key = {};  // Never leaves the machine.
  std::filesystem::path signing_certificate = {};
};

// key.pem, certificate.pem, authority.pem and signing_key.pem in `directory`;
// the signer's certificate is in certificate.pem as well.
CredentialFiles FilesIn(const std::filesystem::path& directory);

struct KeyAndRequest {
  std::filesystem::path key;
  std::filesystem::path request;
  std::string next_step;  // For people: what to do with the request.
};

// Makes a key, and request.pem that asks the federation's authority for a
// certificate of `identity`, in `directory`, which is made when it is missing.
// For a client also the institution's signing key, of `suite`, whose request is the
// second in request.pem; for a signer only that one, behind a client's that is there.
//
// INVALID_ARGUMENT: see CheckIdentity(). ALREADY_EXISTS: there is a key, and
// nothing has been changed. NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED: as
// in base/files.h.
absl::StatusOr<KeyAndRequest> MakeKeyAndRequest(const std::filesystem::path& directory,
                                                const Identity& identity,
                                                CipherSuite suite = CipherSuite::kCurve25519);

// What a TLS connection needs, in PEM.
struct Credentials {
  SecretBytes key_pem;
  std::string certificate_pem;
  std::string authority_pem;
  Certificate certificate;
};

// Reads the files and makes sure that they belong together and are good for
// `role` at `now`. Every message names the file.
//
// Errors as PrivateKey::Load() and CheckCertificate(); INVALID_ARGUMENT: the
// certificate is for another key. NOT_FOUND: says how to get what is missing.
absl::StatusOr<Credentials> LoadCredentials(const CredentialFiles& files, Role role,
                                            absl::Time now);

// What an institution signs with in secure rounds.
struct SigningCredentials {
  SigningKey key;
  std::string certificate_pem;
  Certificate certificate;
};

// The same for a signer's key and certificate. The key can only be as secret as
// its file: PERMISSION_DENIED when others can use it.
absl::StatusOr<SigningCredentials> LoadSigningCredentials(const CredentialFiles& files,
                                                          absl::Time now);

}  // namespace fedtune
