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
  explicit GlobalAdapter(std::vector<float> values) {
    auto owner = std::make_shared<const std::vector<float>>(std::move(values));
    const auto bytes = std::as_bytes(std::span(*owner));
    blob_ = Blob(std::move(owner), bytes);
    digest_ = Sha256Of(bytes);
  }

  // The same, where `stored` lies. Requires: the bytes of `digest`, whole values.
  GlobalAdapter(Blob stored, const Digest& digest) : blob_(std::move(stored)), digest_(digest) {}

  std::span<const float> values() const {
    return {reinterpret_cast<const float*>(bytes().data()), bytes().size() / sizeof(float)};
  }
  std::span<const std::byte> bytes() const { return blob_.bytes(); }
  const Digest& digest() const { return digest_; }
  const Blob& blob() const { return blob_; }

 private:
  Blob blob_;
  Digest digest_;
};

}  // namespace fedtune
