// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/alternative_names.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/printable_text.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/openssl_error.h"

namespace fedtune {
namespace {

constexpr size_t kLongestHost = 253;
constexpr size_t kLongestLabel = 63;

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeNames>;

struct FreeExtensions {
  void operator()(STACK_OF(X509_EXTENSION) * extensions) const {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
};
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), FreeExtensions>;

bool IsAddress(std::string_view host) {
  const std::string text(host);
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

bool IsLabelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= kLongestLabel && label.front() != '-' &&
         label.back() != '-' && std::ranges::all_of(label, IsLabelCharacter);
}

bool IsDnsName(std::string_view host) {
  if (host.size() > kLongestHost) return false;
  size_t dot = host.find('.');
  for (; dot != host.npos; dot = host.find('.')) {
    if (!IsLabel(host.substr(0, dot))) return false;
    host.remove_prefix(dot + 1);
  }
  return IsLabel(host);
}

std::string ToText(const ASN1_STRING* string) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<size_t>(ASN1_STRING_length(string)));
}

// Nothing if the bytes are no address.
std::optional<std::string> AddressToText(const ASN1_STRING* bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(bytes) != 16) return std::nullopt;
  ::inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size());
  return text.data();
}

// The names of all kinds, before it is looked at what they say.
struct RawNames {
  std::vector<std::string> uris;
  std::vector<std::string> hosts;
};

absl::Status Add(const GENERAL_NAME& name, RawNames& raw) {
  switch (name.type) {
    case GEN_URI:
      raw.uris.push_back(ToText(name.d.uniformResourceIdentifier));
      return absl::OkStatus();
    case GEN_DNS:
      raw.hosts.push_back(ToText(name.d.dNSName));
      return CheckHost(raw.hosts.back());
    case GEN_IPADD:
      if (const auto address = AddressToText(name.d.iPAddress)) {
        raw.hosts.push_back(*address);
        return absl::OkStatus();
      }
      return absl::InvalidArgumentError("an IP address has neither 4 nor 16 bytes");
    default:
      return absl::InvalidArgumentError(
          "it holds an alternative name that is neither a URI nor a host");
  }
}

absl::StatusOr<RawNames> ReadAll(const GENERAL_NAMES* names) {
  if (names == nullptr) {
    TakeOpensslError();
    return absl::InvalidArgumentError("it has no readable subject alternative names");
  }
  RawNames raw;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    RETURN_IF_ERROR(Add(*sk_GENERAL_NAME_value(names, i), raw));
  }
  if (raw.uris.size() != 1) {
    return absl::InvalidArgumentError(
        fmt::format("it has {} URIs; exactly one, the identity, is needed", raw.uris.size()));
  }
  return raw;
}

absl::StatusOr<AlternativeNames> Read(const GENERAL_NAMES* names) {
  ASSIGN_OR_RETURN(RawNames raw, ReadAll(names));
  ASSIGN_OR_RETURN(Identity identity, ParseIdentityUri(raw.uris.front()));
  return AlternativeNames{.identity = std::move(identity), .hosts = std::move(raw.hosts)};
}

NamesPtr NamesOf(const X509* certificate) {
  // Null as well when the extension is there twice.
  return NamesPtr(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

void Push(GENERAL_NAMES* names, int type, std::string_view value) {
  GENERAL_NAME* name =
      a2i_GENERAL_NAME(nullptr, nullptr, nullptr, type, std::string(value).c_str(), 0);
  Check(name != nullptr && sk_GENERAL_NAME_push(names, name) > 0, "a checked name can be encoded");
}

NamesPtr MakeNames(std::string_view uri, const std::vector<std::string>& hosts) {
  NamesPtr names(GENERAL_NAMES_new());
  Push(names.get(), GEN_URI, uri);
  for (const std::string& host : hosts) {
    Push(names.get(), IsAddress(host) ? GEN_IPADD : GEN_DNS, host);
  }
  return names;
}

}  // namespace

absl::Status CheckHost(std::string_view host) {
  if (IsAddress(host) || IsDnsName(host)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no host: a DNS name or an IP address is needed, without a port",
                  PrintableText(host, 80)));
}

absl::StatusOr<AlternativeNames> ReadAlternativeNames(const X509* certificate) {
  return Read(NamesOf(certificate).get());
}

absl::StatusOr<AlternativeNames> ReadAlternativeNames(X509_req_st* request) {
  const ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  return Read(names.get());
}

void AddAlternativeNames(std::string_view uri, const std::vector<std::string>& hosts,
                         X509* certificate) {
  const NamesPtr names = MakeNames(uri, hosts);
  Check(
      X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
      "checked names can be added");
}

void AddAlternativeNames(std::string_view uri, X509_req_st* request) {
  const NamesPtr names = MakeNames(uri, {});
  STACK_OF(X509_EXTENSION)* extensions = nullptr;
  Check(X509V3_add1_i2d(&extensions, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
        "checked names can be added");
  const ExtensionsPtr owned(extensions);
  Check(X509_REQ_add_extensions(request, extensions) == 1, "a request takes extensions");
}

absl::StatusOr<std::string> ReadUri(const X509* certificate) {
  ASSIGN_OR_RETURN(RawNames raw, ReadAll(NamesOf(certificate).get()));
  return std::move(raw.uris.front());
}

}  // namespace fedtune
