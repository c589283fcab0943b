// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/openssl_error.h"

#include <openssl/err.h>

namespace fedtune {

std::string TakeOpensslError() {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  std::string taken = reason == nullptr ? "unknown error" : reason;
  ERR_clear_error();
  return taken;
}

}  // namespace fedtune
