// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/safetensors.h"

namespace fedtune {

// What a safetensors header says of one tensor.
struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
};

// Bytes of its values.
int64_t ByteCount(const TensorInfo& tensor);

// Writes a safetensors file piece by piece, whatever its size, under a
// temporary name; Finish() gives it the final one. Bytes of tensors start at a
// multiple of 64. Movable; not thread-safe.
//
//   ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(path, infos, {}));
//   for (...) RETURN_IF_ERROR(writer.Append(bytes));  // In the order of infos.
//   RETURN_IF_ERROR(std::move(writer).Finish());
class SafetensorsWriter {
 public:
  // INVALID_ARGUMENT: two tensors of one name. PERMISSION_DENIED, NOT_FOUND,
  // RESOURCE_EXHAUSTED: the file cannot be made.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::filesystem::path& path, std::span<const TensorInfo> tensors,
      const std::map<std::string, std::string>& metadata);

  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();  // Removes what was not finished.

  // The next bytes; a tensor may come in several pieces.
  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Append(std::span<const std::byte> bytes);

  // Syncs and renames. All bytes of all tensors must have been appended.
  absl::Status Finish() &&;

 private:
  struct File;
  explicit SafetensorsWriter(std::unique_ptr<File> file);

  std::unique_ptr<File> file_;
};

// Writes tensors that are in memory. CANCELLED: a stop was requested; there is no file.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata,
                              const std::stop_token& stop = {});

}  // namespace fedtune
