// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace fedtune {

// Key material: move-only, wiped on destruction, compared in constant time, and
// without operator<< so that it cannot reach a log by accident.
class SecretBytes {
 public:
  explicit SecretBytes(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  ~SecretBytes();

  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    std::swap(bytes_, other.bytes_);  // `other` wipes the old bytes.
    return *this;
  }

  size_t size() const { return bytes_.size(); }

  // Grep for Reveal to find every use of a raw secret.
  std::span<const uint8_t> Reveal() const { return bytes_; }
  std::string_view RevealText() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  friend bool operator==(const SecretBytes& a, const SecretBytes& b);

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace fedtune
