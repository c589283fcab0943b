// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// A P-256 private key. It is made where it is used and never leaves that
// machine. Movable; safe to use from several threads.
class PrivateKey {
 public:
  static PrivateKey Generate();

  // INVALID_ARGUMENT: no private key in PEM, another kind of key, or one that a
  // passphrase protects.
  static absl::StatusOr<PrivateKey> ParsePem(std::string_view pem);

  // PERMISSION_DENIED: the file can be used by others than its owner.
  // NOT_FOUND, INVALID_ARGUMENT as ParsePem; each names the file.
  static absl::StatusOr<PrivateKey> Load(const std::filesystem::path& path);

  // Writes a new file that only its owner can read, and sees it onto the disk.
  // ALREADY_EXISTS: there is a file; it is left as it is.
  absl::Status SaveNew(const std::filesystem::path& path) const;

  // PKCS #8.
  SecretBytes ToPem() const;

  // For the other files of this folder.
  EVP_PKEY* get() const { return key_.get(); }

 private:
  explicit PrivateKey(OpensslPtr<EVP_PKEY> key) : key_(std::move(key)) {}

  OpensslPtr<EVP_PKEY> key_;
};

}  // namespace fedtune
