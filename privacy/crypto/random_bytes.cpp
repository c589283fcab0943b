// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/random_bytes.h"

#include <openssl/rand.h>

#include "base/check.h"

namespace fedtune {

std::vector<uint8_t> RandomBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  Check(RAND_bytes(bytes.data(), static_cast<int>(count)) == 1, "the system gives random bytes");
  return bytes;
}

}  // namespace fedtune
