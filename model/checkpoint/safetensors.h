// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/files.h"
#include "model/checkpoint/tensor_type.h"

namespace fedtune {

// The largest JSON header we read, the limit of the format's reference.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// One tensor where it lies: row-major, little-endian, at any address (not
// necessarily a multiple of the value's size).
struct TensorView {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // Empty for a single value.
  std::span<const std::byte> bytes;

  // Number of values; at most 2^62.
  int64_t value_count() const {
    return static_cast<int64_t>(bytes.size()) * 8 / BitsPerValue(type);
  }
};

// "[2048, 512]".
std::string ShapeToString(std::span<const int64_t> shape);

struct SafetensorsContent {
  std::vector<TensorView> tensors;  // In the order of their bytes.
  std::map<std::string, std::string> metadata;
};

// Finds the tensors in the bytes of a whole safetensors file. The views point
// into `file`. `source` names the file in messages.
//
// INVALID_ARGUMENT: not a safetensors file, one cut short (says which tensor
// ends where), or one whose tensors overlap, leave holes or contradict their
// shapes.
absl::StatusOr<SafetensorsContent> ParseSafetensors(std::span<const std::byte> file,
                                                    std::string_view source);

// A safetensors file, memory-mapped: tensors are read from disk on first use.
// Movable; views stay valid as long as the file is open. Thread-safe.
class SafetensorsFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED; INVALID_ARGUMENT as ParseSafetensors().
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  // In the order of their bytes.
  const std::vector<TensorView>& tensors() const { return content_.tensors; }

  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }

  // Null when there is no such tensor.
  const TensorView* Find(std::string_view name) const;

  // Of the whole file, in bytes.
  size_t file_size() const { return file_.bytes().size(); }

 private:
  SafetensorsFile(std::filesystem::path path, MappedFile file, SafetensorsContent content);

  std::filesystem::path path_;
  MappedFile file_;
  SafetensorsContent content_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace fedtune
