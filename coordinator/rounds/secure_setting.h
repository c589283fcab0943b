// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "coordinator/rounds/names.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// What a run that aggregates securely needs besides its plan: what clients sign
// and derive their session from, and by which keys they are known.
struct SecureSetting {
  std::string federation;
  std::string plan_toml;
  std::string base_digest;  // "sha256:..."
  Digest roster;            // Of the signing roster, and all its entries of the
                            // plan's suite:
  std::map<Institution, uint32_t> numbers = {};
  std::map<uint32_t, Bytes> signing_keys = {};
};

}  // namespace fedtune
