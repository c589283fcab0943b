// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/types.h>

#include <string_view>

namespace fedtune {

// "O=<organisation>, CN=<common name>": for people to read, nothing is decided
// by it. Requires: at most 64 characters each.
void SetSubject(X509_NAME* subject, std::string_view organisation, std::string_view common_name);

}  // namespace fedtune
