// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// The subject alternative names of a certificate or request: one URI, which is
// the identity, and for a coordinator the names of its hosts.
struct AlternativeNames {
  Identity identity;
  std::vector<std::string> hosts;  // DNS names and IP addresses.

  friend bool operator==(const AlternativeNames&, const AlternativeNames&) = default;
};

// A DNS name (without "*") or an IPv4 or IPv6 address.
// INVALID_ARGUMENT: anything else.
absl::Status CheckHost(std::string_view host);

// INVALID_ARGUMENT: not exactly one URI, a URI that is no identity, or a name of
// another kind than URI, DNS and IP address.
absl::StatusOr<AlternativeNames> ReadAlternativeNames(const X509* certificate);
absl::StatusOr<AlternativeNames> ReadAlternativeNames(X509_req_st* request);

// Requires: `uri` without control characters, hosts that CheckHost() accepts.
void AddAlternativeNames(std::string_view uri, const std::vector<std::string>& hosts,
                         X509* certificate);
void AddAlternativeNames(std::string_view uri, X509_req_st* request);

// The one URI of `certificate`, whatever it says.
// INVALID_ARGUMENT: none or several.
absl::StatusOr<std::string> ReadUri(const X509* certificate);

}  // namespace fedtune
