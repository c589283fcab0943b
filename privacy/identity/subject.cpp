// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/subject.h"

#include <openssl/objects.h>
#include <openssl/x509.h>

#include "base/check.h"

namespace fedtune {
namespace {

void Add(X509_NAME* subject, int kind, std::string_view value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  Check(X509_NAME_add_entry_by_NID(subject, kind, MBSTRING_UTF8, bytes,
                                   static_cast<int>(value.size()), -1, 0) == 1,
        "a subject takes names of up to 64 characters");
}

}  // namespace

void SetSubject(X509_NAME* subject, std::string_view organisation, std::string_view common_name) {
  Add(subject, NID_organizationName, organisation);
  Add(subject, NID_commonName, common_name);
}

}  // namespace fedtune
