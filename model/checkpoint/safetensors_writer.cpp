// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace fedtune {
namespace {

constexpr size_t kAlignment = 64;

// Length and JSON, padded so that the tensors start at a multiple of
// kAlignment.
std::string Header(std::span<const TensorInfo> tensors,
                   const std::map<std::string, std::string>& metadata) {
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    const uint64_t end = offset + static_cast<uint64_t>(ByteCount(tensor));
    header.push_back({tensor.name,
                      {{"dtype", std::string(ToString(tensor.type))},
                       {"shape", tensor.shape},
                       {"data_offsets", {offset, end}}}});
    offset = end;
  }
  using Replace = nlohmann::ordered_json::error_handler_t;
  std::string json = header.dump(-1, ' ', false, Replace::replace);
  json.append((kAlignment - (json.size() + 8) % kAlignment) % kAlignment, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(json.size() >> (8 * i));
  return length + json;
}

}  // namespace

int64_t ByteCount(const TensorInfo& tensor) {
  int64_t bits = BitsPerValue(tensor.type);
  for (const int64_t size : tensor.shape) bits *= size;
  return bits / 8;
}

// The open temporary file.
struct SafetensorsWriter::File {
  std::filesystem::path path;
  std::filesystem::path temporary;
  int descriptor = -1;
  uint64_t bytes_left = 0;

  ~File() {
    if (descriptor < 0) return;
    ::close(descriptor);
    ::unlink(temporary.c_str());
  }

  absl::Status Write(std::span<const std::byte> bytes) const {
    return WriteAll(descriptor, bytes, path);
  }
};

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::filesystem::path& path, std::span<const TensorInfo> tensors,
    const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  auto file = std::make_unique<File>();
  for (const TensorInfo& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          fmt::format("{}: two tensors of the name {}", path.string(), tensor.name));
    }
    file->bytes_left += static_cast<uint64_t>(ByteCount(tensor));
  }
  file->path = path;
  file->temporary = fmt::format("{}.{}{}", path.string(), ::getpid(), kPartialSuffix);
  file->descriptor =
      ::open(file->temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file->descriptor < 0) return ErrnoToStatus(errno, "create", file->temporary);
  const std::string header = Header(tensors, metadata);
  RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(header))));
  return SafetensorsWriter(std::move(file));
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<File> file) : file_(std::move(file)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

absl::Status SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  Check(bytes.size() <= file_->bytes_left, "more bytes appended than the header promises");
  file_->bytes_left -= bytes.size();
  return file_->Write(bytes);
}

absl::Status SafetensorsWriter::Finish() && {
  Check(file_->bytes_left == 0, "fewer bytes appended than the header promises");
  const std::unique_ptr<File> file = std::move(file_);
  if (::fdatasync(file->descriptor) != 0) return ErrnoToStatus(errno, "sync", file->path);
  if (::rename(file->temporary.c_str(), file->path.c_str()) != 0) {
    return ErrnoToStatus(errno, "rename to", file->path);
  }
  ::close(std::exchange(file->descriptor, -1));
  return absl::OkStatus();
}

absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata,
                              const std::stop_token& stop) {
  std::vector<TensorInfo> infos;
  for (const TensorView& tensor : tensors) {
    infos.push_back({.name = tensor.name, .type = tensor.type, .shape = tensor.shape});
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::Create(path, infos, metadata));
  for (const TensorView& tensor : tensors) {
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    RETURN_IF_ERROR(writer.Append(tensor.bytes));
  }
  return std::move(writer).Finish();
}

}  // namespace fedtune
