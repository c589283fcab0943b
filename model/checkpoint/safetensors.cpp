// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr char kMetadataKey[] = "__metadata__";

// One entry of the header, before it is laid over the bytes.
struct Entry {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // Both from the end of the header.
  uint64_t end = 0;
};

template <typename... Args>
absl::Status Invalid(std::string_view source, fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", source, fmt::format(format, std::forward<Args>(args)...)));
}

uint64_t ReadLittleEndian64(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// What a clone without Git LFS has in the place of a large file.
bool IsGitLfsPointer(std::span<const std::byte> file) {
  constexpr std::string_view kBegin = "version https://git-lfs";
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  return text.starts_with(kBegin);
}

// The JSON text of the header.
absl::StatusOr<std::string_view> HeaderText(std::span<const std::byte> file,
                                            std::string_view source) {
  if (file.size() < kLengthBytes) {
    return Invalid(source, "{} bytes are too few for a safetensors file", file.size());
  }
  if (IsGitLfsPointer(file)) {
    return Invalid(source, "is a pointer of Git LFS, not the weights: run git lfs pull");
  }
  const uint64_t length = ReadLittleEndian64(file);
  if (length > kMaxSafetensorsHeaderBytes) {
    return Invalid(source, "not a safetensors file (a header of {} bytes; {} are allowed)",
                   GroupDigits(length), GroupDigits(kMaxSafetensorsHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    return Invalid(source, "its header ends at byte {} but the file has {}: the copy is incomplete",
                   GroupDigits(length + kLengthBytes), GroupDigits(file.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (text.empty() || text.front() != '{') {
    return Invalid(source, "not a safetensors file (its header does not start with \"{{\")");
  }
  return text;
}

// Non-negative and at most 2^62, so that sums of two cannot overflow.
std::optional<uint64_t> AsSize(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  if (number > (uint64_t{1} << 62)) return std::nullopt;
  return number;
}

absl::StatusOr<TensorType> ReadType(const json& entry) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string()) {
    return absl::InvalidArgumentError("has no dtype");
  }
  const auto& name = found->get_ref<const std::string&>();
  const std::optional<TensorType> type = ParseTensorType(name);
  if (!type) {
    return absl::InvalidArgumentError(fmt::format("has the unknown dtype \"{}\"", name));
  }
  return *type;
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const json& entry) {
  const auto found = entry.find("shape");
  if (found == entry.end() || !found->is_array()) {
    return absl::InvalidArgumentError("has no shape");
  }
  std::vector<int64_t> shape;
  for (const json& value : *found) {
    const auto size = AsSize(value);
    if (!size) return absl::InvalidArgumentError("has a shape that is not a list of sizes");
    shape.push_back(static_cast<int64_t>(*size));
  }
  return shape;
}

// Bytes that a tensor of this shape takes; nothing when that overflows or ends within one.
std::optional<uint64_t> ByteCount(TensorType type, std::span<const int64_t> shape) {
  auto bits = static_cast<uint64_t>(BitsPerValue(type));
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits)) return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

absl::StatusOr<std::pair<uint64_t, uint64_t>> ReadOffsets(const json& entry) {
  const auto found = entry.find("data_offsets");
  if (found != entry.end() && found->is_array() && found->size() == 2) {
    const auto begin = AsSize((*found)[0]);
    const auto end = AsSize((*found)[1]);
    if (begin && end && *begin <= *end) return std::pair(*begin, *end);
  }
  return absl::InvalidArgumentError("has no data_offsets of the form [begin, end]");
}

absl::StatusOr<Entry> ReadEntry(const std::string& name, const json& value) {
  if (!value.is_object()) return absl::InvalidArgumentError("is not described by an object");
  Entry entry;
  entry.name = name;
  ASSIGN_OR_RETURN(entry.type, ReadType(value));
  ASSIGN_OR_RETURN(entry.shape, ReadShape(value));
  ASSIGN_OR_RETURN(std::tie(entry.begin, entry.end), ReadOffsets(value));
  if (ByteCount(entry.type, entry.shape) != entry.end - entry.begin) {
    return absl::InvalidArgumentError(fmt::format(
        "has {} bytes, which is not {} values of {}", GroupDigits(entry.end - entry.begin),
        ShapeToString(entry.shape), ToString(entry.type)));
  }
  return entry;
}

absl::StatusOr<std::map<std::string, std::string>> ReadMetadata(const json& value,
                                                                std::string_view source) {
  if (!value.is_object()) return Invalid(source, "its {} is not an object", kMetadataKey);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return Invalid(source, "\"{}\" in its {} is not a text", key, kMetadataKey);
    }
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

// The entries must cover `data_size` bytes behind a header that ends at byte
// `data_start`: without holes, overlaps and leftovers.
absl::Status CheckCoverage(std::span<const Entry> entries, uint64_t data_start, uint64_t data_size,
                           std::string_view source) {
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      return Invalid(source, "tensor {} starts at byte {} where {} was expected: {}", entry.name,
                     GroupDigits(data_start + entry.begin), GroupDigits(data_start + covered),
                     entry.begin < covered ? "tensors overlap" : "there is a hole");
    }
    covered = entry.end;
    if (covered > data_size) {
      return Invalid(
          source, "tensor {} ends at byte {} but the file has {}: the copy is incomplete",
          entry.name, GroupDigits(data_start + covered), GroupDigits(data_start + data_size));
    }
  }
  if (covered < data_size) {
    return Invalid(source, "the last tensor ends at byte {} but the file has {}",
                   GroupDigits(data_start + covered), GroupDigits(data_start + data_size));
  }
  return absl::OkStatus();
}

// All entries of the header but the metadata, in the order of their bytes.
absl::StatusOr<std::vector<Entry>> ReadEntries(const json& header, std::string_view source) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) continue;
    absl::StatusOr<Entry> entry = ReadEntry(name, value);
    if (!entry.ok()) {
      return Invalid(source, "tensor {} {}", name, std::string(entry.status().message()));
    }
    entries.push_back(*std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  return entries;
}

}  // namespace

std::string ShapeToString(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

absl::StatusOr<SafetensorsContent> ParseSafetensors(std::span<const std::byte> file,
                                                    std::string_view source) {
  ASSIGN_OR_RETURN(const std::string_view text, HeaderText(file, source));
  ASSIGN_OR_RETURN(const json header, ParseJson(text, source));
  ASSIGN_OR_RETURN(std::vector<Entry> entries, ReadEntries(header, source));
  const auto data = file.subspan(kLengthBytes + text.size());
  RETURN_IF_ERROR(CheckCoverage(entries, kLengthBytes + text.size(), data.size(), source));
  SafetensorsContent content;
  if (const auto found = header.find(kMetadataKey); found != header.end()) {
    ASSIGN_OR_RETURN(content.metadata, ReadMetadata(*found, source));
  }
  for (Entry& entry : entries) {
    content.tensors.push_back({.name = std::move(entry.name),
                               .type = entry.type,
                               .shape = std::move(entry.shape),
                               .bytes = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return content;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  ASSIGN_OR_RETURN(SafetensorsContent content, ParseSafetensors(file.bytes(), path.string()));
  return SafetensorsFile(path, std::move(file), std::move(content));
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path, MappedFile file,
                                 SafetensorsContent content)
    : path_(std::move(path)), file_(std::move(file)), content_(std::move(content)) {
  for (size_t i = 0; i < content_.tensors.size(); ++i) index_[content_.tensors[i].name] = i;
}

const TensorView* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &content_.tensors[found->second];
}

}  // namespace fedtune
