// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "coordinator/storage/blob.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// The values of a global adapter under their name. Cheap to copy; immutable.
class GlobalAdapter {
 public:
  explicit GlobalAdapter(std::vector<float> values)
      : values_(std::make_shared<const std::vector<float>>(std::move(values))),
        digest_(Sha256Of(bytes())) {}

  const std::vector<float>& values() const { return *values_; }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(*values_)); }
  const Digest& digest() const { return digest_; }
  Blob blob() const { return Blob(values_, bytes()); }

 private:
  std::shared_ptr<const std::vector<float>> values_;
  Digest digest_;
};

}  // namespace fedtune
