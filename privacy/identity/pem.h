// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {

// A reader over `pem`, which must outlive it.
// INVALID_ARGUMENT: longer than kLongestPem (private_key_pem.h), or than `longest`.
absl::StatusOr<OpensslPtr<BIO>> ReadPemFrom(std::string_view pem);
absl::StatusOr<OpensslPtr<BIO>> ReadPemFrom(std::string_view pem, size_t longest);

// The blocks of a file, each from after the last one to its own END line. What
// follows the last is left out if it is blank.
std::vector<std::string_view> SplitPem(std::string_view pem);

std::string ToPem(X509* certificate);
std::string ToPem(X509_req_st* request);
std::string ToPem(X509_CRL* list);

}  // namespace fedtune
